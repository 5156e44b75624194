//! What is written to the terminal, by a thread of its own: one that nobody reads holds up that thread alone.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Takes what is to be written. Clones write to the same terminal.
#[derive(Clone, Debug)]
pub struct Writer(Arc<Shared>);

/// What the thread shares with those who write.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write, or something was written.
    changed: Condvar,
    /// Something was written, or can't be.
    written: Notify,
}

#[derive(Debug)]
struct State {
    /// What comes next.
    waiting: Vec<u8>,
    /// Whether the thread writes.
    is_writing: bool,
    /// Since when there was something to write.
    begun: Instant,
    /// When the last of it was written.
    ended: Instant,
    /// Why nothing can be written any more.
    failed: Option<io::ErrorKind>,
}

impl Writer {
    /// Begins to write to standard output. The thread that does ends with the terminal or the process.
    ///
    /// # Errors
    /// If there is no standard output, or can be no thread.
    pub fn begin() -> io::Result<Self> {
        // Not by `io::stdout`, which would stay locked as long as nobody reads.
        Self::to(File::from(io::stdout().as_fd().try_clone_to_owned()?))
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let now = Instant::now();
        let state = State { waiting: Vec::new(), is_writing: false, begun: now, ended: now, failed: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), written: Notify::new() });
        let writer = Self(shared.clone());
        thread::Builder::new().name("output".into()).spawn(move || shared.work(out))?;
        Ok(writer)
    }

    /// Has `bytes` written after what came before, without waiting for that. They were begun to be made at `begun`.
    ///
    /// # Errors
    /// If the terminal is gone, as far as is known.
    pub fn write(&self, bytes: &[u8], begun: Instant) -> io::Result<()> {
        let mut state = self.0.lock();
        if let Some(kind) = state.failed {
            return Err(kind.into());
        }
        if !state.is_busy() {
            state.begun = begun;
        }
        state.waiting.extend_from_slice(bytes);
        drop(state);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Waits until all is written, but no longer than `limit`.
    pub fn settle(&self, limit: Duration) {
        let state = self.0.lock();
        drop(self.0.changed.wait_timeout_while(state, limit, |state| state.is_busy()));
    }

    /// Waits until all is written, or nothing can be any more: when that was, and how long it took.
    pub async fn idle(&self) -> (Instant, Duration) {
        loop {
            if let Some(rest) = self.0.lock().rest() {
                return rest;
            }
            self.0.written.notified().await;
        }
    }
}

impl Shared {
    /// Writes what comes until nothing can be written any more.
    fn work(&self, mut out: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let woken = self.changed.wait_while(self.lock(), |state| state.waiting.is_empty());
            let mut state = woken.unwrap_or_else(PoisonError::into_inner);
            mem::swap(&mut bytes, &mut state.waiting);
            state.is_writing = true;
            drop(state);
            let written = out.write_all(&bytes);
            bytes.clear();
            let mut state = self.lock();
            state.is_writing = false;
            state.ended = Instant::now();
            if let Err(error) = &written {
                state.failed = Some(error.kind());
                state.waiting.clear();
            }
            drop(state);
            self.changed.notify_all();
            self.written.notify_one();
            if written.is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_busy(&self) -> bool {
        self.is_writing || !self.waiting.is_empty()
    }

    /// When all was written, and how long that took; `None` if it is not.
    fn rest(&self) -> Option<(Instant, Duration)> {
        (!self.is_busy()).then(|| (self.ended, self.ended.saturating_duration_since(self.begun)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::Writer;

    const MOMENT: Duration = Duration::from_millis(50);

    #[test]
    fn who_writes_does_not_wait_for_who_reads() {
        let (mut reader, far) = UnixStream::pair().unwrap();
        let writer = Writer::to(far).unwrap();
        let begun = Instant::now();
        // More than is kept for who does not read.
        let frame = vec![b'-'; 1 << 22];
        writer.write(&frame, begun).unwrap();
        writer.settle(MOMENT);
        assert_eq!(writer.0.lock().rest(), None);
        writer.write(b"end", begun).unwrap();
        let mut read = vec![0; frame.len() + 3];
        reader.read_exact(&mut read).unwrap();
        assert!(read.ends_with(b"-end"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (ended, took) = runtime.block_on(writer.idle());
        assert!(took >= MOMENT && ended - begun == took, "{took:?}");
    }

    #[test]
    fn a_terminal_that_is_gone_is_told_and_keeps_nobody_waiting() {
        let (reader, far) = UnixStream::pair().unwrap();
        let writer = Writer::to(far).unwrap();
        drop(reader);
        writer.write(b"frame", Instant::now()).unwrap();
        writer.settle(Duration::from_mins(1));
        assert!(writer.0.lock().rest().is_some());
        assert!(writer.write(b"frame", Instant::now()).is_err());
    }
}
