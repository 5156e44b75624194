//! The threads that share the work of a step.

use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The calling thread and helpers that sleep until there is more than one task.
#[derive(Debug)]
pub struct Team {
    helpers: Option<ThreadPool>,
    threads: usize,
}

impl Team {
    /// `threads` in all, the caller's included; 0 for as many as the machine has. Fewer if the system gives no more.
    pub fn new(threads: usize) -> Self {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { available() } else { threads };
        let build =
            || ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(|i| format!("kernels-{i}")).build();
        let helpers = (threads > 1).then(|| build().ok()).flatten();
        Self { threads: if helpers.is_some() { threads } else { 1 }, helpers }
    }

    /// How many threads work.
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` for each of `tasks`, which idle threads take in turn. A single task stays on the calling thread.
    pub fn run<T: Send>(&self, tasks: impl ExactSizeIterator<Item = T> + Send, work: impl Fn(T) + Sync) {
        let helpers = self.threads.min(tasks.len()).saturating_sub(1);
        let (Some(pool), 1..) = (&self.helpers, helpers) else {
            return tasks.for_each(work);
        };
        let queue = Mutex::new(tasks);
        let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let drain = || {
            while let Some(task) = take() {
                work(task);
            }
        };
        pool.in_place_scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|_| drain());
            }
            drain();
        });
    }
}
