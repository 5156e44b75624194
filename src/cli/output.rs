//! Where answers go: data to standard output as text or JSON, notes and errors to standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{process, thread};

use rustix::fs::FileType;
use rustix::io::Errno;
use serde_json::Value;

use crate::reply::Reply;

/// How long an error's sentence has to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether something was not written that somebody wanted to read, and the program went on.
static LOST: AtomicBool = AtomicBool::new(false);

/// How answers are written.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    /// As JSON or text; quiet leaves the notes out.
    pub const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether data is written as JSON.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Whether progress bars belong on standard error.
    pub fn shows_progress(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Writes data in the form that was asked for: `object`, or else `text`. Ends the program if it can't be written.
    pub fn data(self, object: &Value, text: &str) {
        self.or_end(self.line(object, text));
    }

    /// The same where there is more to lose than words; whether anybody reads them.
    pub fn offer(self, object: &Value, text: &str) -> bool {
        self.offered(&self.line(object, text))
    }

    /// The same where there is more to lose, but not if nobody reads: that ends the program.
    pub fn offer_or_end(self, object: &Value, text: &str) {
        if !self.offer(object, text) {
            process::exit(0);
        }
    }

    fn line(self, object: &Value, text: &str) -> io::Result<()> {
        if self.json { write_line(&object.to_string()) } else { write_line(text) }
    }

    /// Writes an answer of the lab. Ends the program if it can't be written.
    pub fn reply(self, reply: &Reply) {
        for line in self.lines(reply) {
            self.or_end(write_line(&line));
        }
    }

    /// The same where there is more to lose than words; whether anybody reads them.
    pub fn offer_reply(self, reply: &Reply) -> bool {
        self.lines(reply).iter().all(|line| self.offered(&write_line(line)))
    }

    /// Whether anybody reads. What can't be written, as on a full disk, is an error that is told once and ends nothing.
    fn offered(self, written: &io::Result<()>) -> bool {
        if let Err(error) = written
            && is_read(written)
            && !is_hung_up(error)
            && !LOST.swap(true, Ordering::Relaxed)
        {
            self.error(&unwritten(error));
        }
        is_read(written)
    }

    /// Whether all that was to be read was written.
    pub fn is_whole() -> bool {
        !LOST.load(Ordering::Relaxed)
    }

    fn lines(self, reply: &Reply) -> Vec<String> {
        if self.json { reply.to_json().iter().map(Value::to_string).collect() } else { vec![reply.to_string()] }
    }

    /// As [`Self::reply`], of one session among several, which it names.
    pub fn reply_of(self, session: &str, reply: &Reply) {
        if !self.json {
            return self.or_end(write_line(&format!("{session}: {reply}")));
        }
        for mut object in reply.to_json() {
            object["session"] = session.into();
            self.or_end(write_line(&object.to_string()));
        }
    }

    /// Writes what is neither text nor JSON: a script, a page. Ends the program if it can't be written.
    pub fn bytes(self, bytes: &[u8]) {
        self.or_end(write(bytes));
    }

    /// Ends the program if something was not written. Whoever reads no more, as with `| head`, has what was wanted.
    pub fn or_end(self, written: io::Result<()>) {
        if !is_read(&written) {
            process::exit(0);
        }
        if let Err(error) = written {
            self.error(&unwritten(&error));
            process::exit(1);
        }
    }

    /// Writes a note for people.
    pub fn note(self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Writes an error's sentence. The program may end next, which a terminal that nobody reads must not keep it from.
    pub fn error(self, sentence: &str) {
        let line = format!("mnist-lab: {sentence}\n");
        let (done, told) = mpsc::channel();
        let write = move || {
            let _ = io::stderr().write_all(line.as_bytes());
            let _ = done.send(());
        };
        if thread::Builder::new().spawn(write).is_ok() {
            let _ = told.recv_timeout(PATIENCE);
        }
    }
}

fn write_line(line: &str) -> io::Result<()> {
    write(format!("{line}\n").as_bytes())
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

fn unwritten(error: &io::Error) -> String {
    format!("can't write to standard output: {error}")
}

/// Whether it went to a terminal that is gone, which is no loss: whoever sat there knows.
fn is_hung_up(error: &io::Error) -> bool {
    let is_device =
        || rustix::fs::fstat(io::stdout()).is_ok_and(|of| FileType::from_raw_mode(of.st_mode).is_char_device());
    error.raw_os_error() == Some(Errno::IO.raw_os_error()) && is_device()
}

/// Whether there is anybody who reads.
fn is_read(written: &io::Result<()>) -> bool {
    !written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
