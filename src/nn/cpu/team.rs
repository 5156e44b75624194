//! The threads that share the work of a step.
//!
//! A training step of a small network is a handful of jobs of some hundred microseconds each, and waking a thread that
//! sleeps takes a good part of that, on a virtual machine above all. So helpers go on looking for the next job for a while
//! before they sleep. General thread pools sleep at once: with one, two threads did 1.67 times the work of one, where they
//! now do 1.8 to 1.9 times.

use std::hint;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread looks before it sleeps (a helper) or lets others run (the caller): longer than what the calling thread
/// does alone between two jobs of a training step.
const PATIENCE: Duration = Duration::from_micros(200);

/// Looks between two glances at the clock.
const LOOKS: u32 = 32;

/// A thread that looks for something again and again.
#[derive(Default)]
struct Watch {
    looks: u32,
    since: Option<Instant>,
}

impl Watch {
    /// Waits a moment, and says whether the patience has run out.
    fn pause(&mut self) -> bool {
        hint::spin_loop();
        self.looks += 1;
        self.looks.is_multiple_of(LOOKS) && self.since.get_or_insert_with(Instant::now).elapsed() > PATIENCE
    }
}

/// The calling thread and helpers that wait until there is more than one task.
#[derive(Debug)]
pub struct Team {
    helpers: Vec<Helper>,
}

#[derive(Debug)]
struct Helper {
    mailbox: Arc<Mailbox>,
    /// Taken when it is joined.
    thread: Option<JoinHandle<()>>,
}

/// Where a helper finds its next job.
#[derive(Debug, Default)]
struct Mailbox {
    /// Null when there is none.
    job: AtomicPtr<Job>,
    stop: AtomicBool,
}

/// Work for several threads, on the stack of the caller, who waits until no helper has it any more.
struct Job {
    work: &'static (dyn Fn(usize) + Sync),
    /// Helpers that have not finished it.
    pending: AtomicUsize,
    panicked: AtomicBool,
}

impl Team {
    /// `threads` in all, the caller's included; 0 for as many as the machine has. Fewer if the system gives no more.
    pub fn new(threads: usize) -> Self {
        let available = || thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { available() } else { threads };
        Self { helpers: (1..threads).map_while(|number| Helper::start(number).ok()).collect() }
    }

    /// How many threads work.
    pub const fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Runs `work` for each of `tasks`, which idle threads take in turn, with the number of the thread: 0 is the calling one,
    /// on which a single task stays.
    ///
    /// # Panics
    /// If `work` does, on any thread.
    pub fn run<T: Send>(&self, tasks: impl ExactSizeIterator<Item = T> + Send, work: impl Fn(usize, T) + Sync) {
        let helpers = self.helpers.len().min(tasks.len().saturating_sub(1));
        if helpers == 0 {
            return tasks.for_each(|task| work(0, task));
        }
        let queue = Mutex::new(tasks);
        let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        self.share(helpers, &|thread| {
            while let Some(task) = take() {
                work(thread, task);
            }
        });
    }

    /// Runs `work` on the calling thread and the first `helpers`.
    fn share(&self, helpers: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: `Finish` does not let this function end, by a panic neither, before every helper has let go of the job.
        let work = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
        let job = Job { work, pending: AtomicUsize::new(helpers), panicked: AtomicBool::new(false) };
        let finish = Finish(&job);
        for helper in &self.helpers[..helpers] {
            helper.mailbox.job.store(ptr::from_ref(&job).cast_mut(), Ordering::Release);
            helper.wake();
        }
        work(0);
        drop(finish);
        assert!(!job.panicked.into_inner(), "a helper's share of the work panicked");
    }
}

/// Waits until no helper has the job any more.
struct Finish<'a>(&'a Job);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut watch = Watch::default();
        while self.0.pending.load(Ordering::Acquire) > 0 {
            if watch.pause() {
                thread::yield_now();
            }
        }
    }
}

impl Helper {
    fn start(number: usize) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let own = Arc::clone(&mailbox);
        let thread = thread::Builder::new().name(format!("kernels-{number}")).spawn(move || own.serve(number))?;
        Ok(Self { mailbox, thread: Some(thread) })
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.mailbox.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Mailbox {
    /// The life of helper `number`.
    fn serve(&self, number: usize) {
        let mut watch = Watch::default();
        while !self.stop.load(Ordering::Acquire) {
            let job = self.job.swap(ptr::null_mut(), Ordering::Acquire);
            if job.is_null() {
                // Whoever leaves a job wakes this thread; if it is not yet asleep then, it does not fall asleep.
                if watch.pause() {
                    thread::park();
                }
                continue;
            }
            // SAFETY: the caller waits until `pending` has been counted down, which is the last that happens to the job here.
            let job = unsafe { &*job };
            if panic::catch_unwind(AssertUnwindSafe(|| (job.work)(number))).is_err() {
                job.panicked.store(true, Ordering::Relaxed);
            }
            watch = Watch::default();
            job.pending.fetch_sub(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_by_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(threads);
            assert_eq!(team.threads(), threads);
            for count in [0, 1, 2, 5, 1000] {
                let mut done = vec![0; count];
                team.run(done.iter_mut(), |_, done| *done += 1);
                assert!(done.iter().all(|&done| done == 1), "{count} tasks, {threads} threads");
            }
        }
    }

    #[test]
    fn helpers_that_sleep_wake_up() {
        let team = Team::new(4);
        for _ in 0..20 {
            thread::sleep(std::time::Duration::from_millis(2));
            let threads = Mutex::new(Vec::new());
            let arrived = AtomicUsize::new(0);
            team.run(0..4, |_, _| {
                threads.lock().expect("nobody panicked").push(thread::current().id());
                arrived.fetch_add(1, Ordering::SeqCst);
                // Each thread holds its task until all have one.
                while arrived.load(Ordering::SeqCst) < 4 {
                    thread::yield_now();
                }
            });
            let mut threads = threads.into_inner().expect("nobody panicked");
            threads.sort_by_key(|id| format!("{id:?}"));
            threads.dedup();
            assert_eq!(threads.len(), 4);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new(3);
        for guilty in 0..6 {
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
                team.run(0..6, |_, task| assert!(task != guilty, "this one"));
            }));
            assert!(outcome.is_err());
            let mut done = [false; 6];
            team.run(done.iter_mut(), |_, done| *done = true);
            assert_eq!(done, [true; 6]);
        }
    }
}
