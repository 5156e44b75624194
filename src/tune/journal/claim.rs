//! Who does a task: claims, the signs of life of those who made them, and how a dead worker's task is taken over.

use std::collections::hash_map::Entry;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Journal, io_error, names, result_name, sealed, task_name};
use crate::tune::TuneError;
use crate::tune::trial::Task;

/// For how long a worker is shown at work without a new sign of life: two may be missed.
const LATELY: Duration = Duration::from_secs(20);

/// Whoever takes tasks: one thread of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Host, process, and what tells it from others of the same number: unlike any other's, at any time.
    pub id: String,
    /// This boot of this machine, and its own numbering of processes; `None` where the system does not tell.
    machine: Option<String>,
    process: u32,
    /// When the process began, in ticks since the machine did: its number may be given again.
    began: Option<u64>,
}

/// A sign of life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// The worker's beats so far.
    pub count: u64,
    /// What it does.
    pub task: Option<Task>,
    /// Epochs that are done, the running one as a fraction.
    pub epochs: f64,
}

/// A task that nobody else does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is to be done.
    pub task: Task,
    number: u32,
}

/// What a claim's file says.
#[derive(Serialize, Deserialize)]
enum Holder {
    /// This worker does it.
    Held(Worker),
    /// It was given back.
    Released,
}

impl Worker {
    /// A new worker of this process.
    pub fn here() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let process = std::process::id();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let plain: String = host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            id: format!("{}-{process}-{number}-{now:08x}", if plain.is_empty() { "host" } else { &plain }),
            machine: machine(),
            process,
            began: process_began(process),
        }
    }

    /// Its file with the signs of life.
    pub(super) fn file(&self) -> String {
        file(&self.id)
    }

    /// What the names of all workers of its process begin with.
    fn process_prefix(&self) -> &str {
        let end = self.id.rmatch_indices('-').nth(1).map_or(self.id.len(), |(at, _)| at + 1);
        &self.id[..end]
    }

    /// Whether its process is known to have ended: that of another machine is not.
    fn has_ended(&self) -> bool {
        self.machine.is_some() && self.machine == machine() && process_began(self.process) != self.began
    }
}

impl Journal {
    /// Claims a task; `None` if somebody else does it, or it is done.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn claim(&mut self, task: Task, worker: &Worker) -> Result<Option<Claim>, TuneError> {
        if self.is_done(task)? {
            return Ok(None);
        }
        let number = match self.last_claim(task)? {
            None => 0,
            Some((number, Holder::Released)) => number + 1,
            Some((number, Holder::Held(holder))) if holder.id == worker.id => return Ok(Some(Claim { task, number })),
            Some((number, Holder::Held(holder))) if holder.has_ended() || self.is_silent(&holder)? => number + 1,
            Some((_, Holder::Held(_))) => return Ok(None),
        };
        if !self.write_claim(task, number, &Holder::Held(worker.clone()))? {
            return Ok(None);
        }
        // Whoever had it may have come to its end meanwhile.
        Ok((!self.is_done(task)?).then_some(Claim { task, number }))
    }

    /// Whether nobody has taken the claim over.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn holds(&self, claim: &Claim) -> Result<bool, TuneError> {
        Ok(self.read_claim(claim.task, claim.number + 1)?.is_none())
    }

    /// Gives a claim back, so that another can go on.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn release(&self, claim: &Claim) -> Result<(), TuneError> {
        self.write_claim(claim.task, claim.number + 1, &Holder::Released).map(drop)
    }

    /// Whether it has a result: [`Journal::refresh`] tells of it, if it has not yet.
    fn is_done(&self, task: Task) -> Result<bool, TuneError> {
        let name = result_name(task);
        Ok(self.read.contains(&name) || sealed::read(&self.folder.join(&name))?.is_some())
    }

    /// The last claim of a task. Each is asked for by name: a listing may be older than what it lists.
    fn last_claim(&self, task: Task) -> Result<Option<(u32, Holder)>, TuneError> {
        let mut last = None;
        for number in 0.. {
            match self.read_claim(task, number)? {
                Some(holder) => last = Some((number, holder)),
                None => break,
            }
        }
        Ok(last)
    }

    fn read_claim(&self, task: Task, number: u32) -> Result<Option<Holder>, TuneError> {
        let path = self.folder.join(claim_name(task, number));
        let Some(text) = sealed::read(&path)? else { return Ok(None) };
        let damaged = |error: serde_json::Error| TuneError::Damaged { path, problem: error.to_string() };
        serde_json::from_str(&text).map(Some).map_err(damaged)
    }

    fn write_claim(&self, task: Task, number: u32, holder: &Holder) -> Result<bool, TuneError> {
        let name = claim_name(task, number);
        let text = serde_json::to_string(holder).map_err(|error| TuneError::Study(error.to_string()))?;
        sealed::write_new(&self.folder, &name, &text)
            .map_err(|source| io_error(&self.folder.join(&name), "claim the trial", source))
    }

    /// Whether nothing was heard of a worker for too long, by this worker's own clock: those of others may be wrong.
    fn is_silent(&mut self, worker: &Worker) -> Result<bool, TuneError> {
        let beat = self.beat_of(&worker.id)?;
        Ok(match self.seen.entry(worker.id.clone()) {
            Entry::Occupied(seen) if seen.get().0 == beat => seen.get().1.elapsed() >= self.stale,
            Entry::Occupied(mut seen) => {
                seen.insert((beat, Instant::now()));
                false
            }
            Entry::Vacant(new) => {
                new.insert((beat, Instant::now()));
                self.stale.is_zero()
            }
        })
    }

    /// What workers of other processes do, as far as they tell and were heard of lately.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn elsewhere(&mut self, worker: &Worker) -> Result<Vec<Beat>, TuneError> {
        let mut beats = Vec::new();
        for id in self.workers()?.into_iter().filter(|id| !id.starts_with(worker.process_prefix())) {
            let beat = self.beat_of(&id)?;
            // What was there at first sight may be the last word of one that is dead.
            let heard = match self.heard.get(&id) {
                None => None,
                Some((before, heard)) if *before == beat => *heard,
                Some(_) => Some(Instant::now()),
            };
            let is_open = beat.task.is_some_and(|task| !self.read.contains(&result_name(task)));
            if is_open && heard.is_some_and(|heard| heard.elapsed() < LATELY) {
                beats.push(beat.clone());
            }
            self.heard.insert(id, (beat, heard));
        }
        Ok(beats)
    }

    /// The names of all workers that ever told of themselves.
    fn workers(&self) -> Result<Vec<String>, TuneError> {
        let id = |name: &String| name.strip_prefix("worker-")?.strip_suffix(".json").map(str::to_owned);
        Ok(names(&self.folder)?.iter().filter_map(id).collect())
    }

    fn beat_of(&self, worker: &str) -> Result<Beat, TuneError> {
        let text = sealed::read(&self.folder.join(file(worker)))?.unwrap_or_default();
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

/// The file with the signs of life of the worker of this name.
fn file(id: &str) -> String {
    format!("worker-{id}.json")
}

fn claim_name(task: Task, number: u32) -> String {
    format!("{}.claim-{number}", task_name(task))
}

/// Names this boot of this machine and its numbering of processes, which containers have of their own.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let processes = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), processes.display()))
}

/// When a process began, in ticks since the machine did; `None` if there is none of this number, or it has ended and only its
/// parent does not know yet.
fn process_began(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let began = fields.nth(18)?.parse().ok()?;
    (!["Z", "X"].contains(&state)).then_some(began)
}
