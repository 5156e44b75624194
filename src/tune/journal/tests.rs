//! Claims, results and what becomes of them when workers die or race.

use std::collections::HashSet;
use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::Journal;
use super::claim::{Beat, Worker};
use crate::train::history::Measured;
use crate::tune::TuneError;
use crate::tune::study::{Algorithm, Study};
use crate::tune::tests::study;
use crate::tune::trial::{Ending, Task, Trial};

const TASK: Task = Task { trial: 3, epochs: 1 };

fn a_study() -> Study {
    study(Algorithm::Random, 50, 1, 0)
}

fn journal() -> (TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::begin(folder.path(), &a_study()).unwrap();
    (folder, journal)
}

fn result(number: u32) -> Trial {
    let scores = vec![Measured { loss: 0.1 + 1.0 / 3.0, accuracy: 0.9 }];
    let values = vec!["0.01".into(), "0.1".into(), "32".into()];
    Trial { number, values, scores, ending: Ending::Reached, seconds: 1.5, worker: "test".into() }
}

/// A worker whose process is none of this machine's.
fn far_worker() -> Worker {
    let mut far = serde_json::to_value(Worker::here()).unwrap();
    far["machine"] = "another boot".into();
    far["id"] = "far-1".into();
    serde_json::from_value(far).unwrap()
}

/// A worker of this machine whose process has ended.
fn dead_worker() -> Worker {
    let mut dead = serde_json::to_value(Worker::here()).unwrap();
    dead["began"] = 1.into();
    dead["id"] = "dead-1".into();
    serde_json::from_value(dead).unwrap()
}

#[test]
fn a_study_is_read_as_it_was_written_and_joined_by_the_same_alone() {
    let (folder, _) = journal();
    let (_, read) = Journal::open(folder.path()).unwrap();
    assert_eq!(read, a_study());
    let more = Study { trials: 80, ..a_study() };
    assert!(Journal::begin(folder.path(), &more).is_ok(), "more trials are the same search");
    let fewer = Study { trials: 9, ..a_study() };
    assert!(Journal::begin(folder.path(), &fewer).is_ok(), "and fewer too");
    assert_eq!(Journal::open(folder.path()).unwrap().1, more, "who comes later makes all that were added");
    let other = Study { seed: 3, ..a_study() };
    let refused = Journal::begin(folder.path(), &other).map(drop).unwrap_err();
    assert!(refused.to_string().contains("its seed is 0, not 3"), "{refused}");
    assert!(matches!(Journal::open(&folder.path().join("no")), Err(TuneError::Missing(_))));
}

#[test]
fn results_are_seen_by_all_and_once() {
    let (folder, mut journal) = journal();
    let (mut other, _) = Journal::open(folder.path()).unwrap();
    journal.finish(TASK, &result(3)).unwrap();
    assert_eq!(other.refresh().unwrap(), [result(3)]);
    assert_eq!(other.refresh().unwrap(), []);
    assert_eq!(journal.refresh().unwrap(), []);
    // Who comes second is not believed.
    let second = Trial { worker: "second".into(), ..result(3) };
    other.finish(TASK, &second).unwrap();
    assert_eq!(Journal::open(folder.path()).unwrap().0.refresh().unwrap(), [result(3)]);
    assert_eq!(other.claim(TASK, &Worker::here()).unwrap(), None, "what is done is not done again");
    // Who first hears of a result when it wants to do the same is still told of it.
    let (mut late, _) = Journal::open(folder.path()).unwrap();
    assert_eq!(late.claim(TASK, &Worker::here()).unwrap(), None);
    assert_eq!(late.refresh().unwrap(), [result(3)]);
}

#[test]
fn a_task_has_one_worker_until_that_one_ends() {
    let (folder, mut journal) = journal();
    let (mut other, _) = Journal::open(folder.path()).unwrap();
    let (first, second) = (Worker::here(), Worker::here());
    let claim = journal.claim(TASK, &first).unwrap().unwrap();
    assert_eq!(other.claim(TASK, &second).unwrap(), None);
    assert!(journal.holds(&claim).unwrap());
    journal.release(&claim).unwrap();
    let taken = other.claim(TASK, &second).unwrap().unwrap();
    assert!(other.holds(&taken).unwrap() && !journal.holds(&claim).unwrap());
    assert_eq!(journal.claim(TASK, &first).unwrap(), None);
}

#[test]
fn a_dead_workers_task_is_taken_over() {
    let (folder, mut journal) = journal();
    let worker = Worker::here();
    let (mut dead, _) = Journal::open(folder.path()).unwrap();
    dead.claim(TASK, &dead_worker()).unwrap().unwrap();
    assert!(journal.claim(TASK, &worker).unwrap().is_some(), "its process is known to have ended");

    let task = Task { trial: 4, epochs: 1 };
    let (far, claim) = (far_worker(), dead.claim(task, &far_worker()).unwrap().unwrap());
    let mut beat = Beat { count: 1, task: Some(task), epochs: 0.5 };
    dead.beat(&far, &beat).unwrap();
    let mut waiting = journal.patient_for(Duration::from_millis(200));
    assert_eq!(waiting.claim(task, &worker).unwrap(), None);
    thread::sleep(Duration::from_millis(250));
    beat.count += 1;
    dead.beat(&far, &beat).unwrap();
    assert_eq!(waiting.claim(task, &worker).unwrap(), None, "it lives");
    thread::sleep(Duration::from_millis(250));
    assert!(waiting.claim(task, &worker).unwrap().is_some(), "nothing was heard of it");
    assert!(!dead.holds(&claim).unwrap(), "and it will know");
}

#[test]
fn others_are_seen_at_work_until_they_are_done() {
    let (folder, mut journal) = journal();
    let (other, _) = Journal::open(folder.path()).unwrap();
    let beat = |count| Beat { count, task: Some(TASK), epochs: 0.5 };
    let (far, here) = (far_worker(), Worker::here());
    other.beat(&far, &beat(1)).unwrap();
    assert_eq!(journal.elsewhere(&here).unwrap(), [], "it may be dead since long");
    other.beat(&far, &beat(2)).unwrap();
    other.beat(&Worker::here(), &beat(1)).unwrap();
    assert_eq!(journal.elsewhere(&here).unwrap(), [beat(2)], "this process knows itself what it does");
    journal.finish(TASK, &result(3)).unwrap();
    assert_eq!(journal.elsewhere(&here).unwrap(), []);
}

/// Of all who race for a task one gets it, also where it is taken over.
#[test]
fn no_task_is_done_twice() {
    let (folder, mut journal) = journal();
    for trial in 0..20 {
        journal.claim(Task { trial, epochs: 1 }, &dead_worker()).unwrap();
    }
    let barrier = Barrier::new(8);
    let claimed = thread::scope(|scope| {
        let work = || {
            let (mut journal, _) = Journal::open(folder.path()).unwrap();
            let worker = Worker::here();
            barrier.wait();
            let tasks = (0..40).map(|trial| Task { trial, epochs: 1 });
            tasks.filter(|task| journal.claim(*task, &worker).unwrap().is_some()).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(claimed.len(), 40);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>().len(), 40);
}

#[test]
fn a_damaged_result_is_told_with_what_to_do() {
    let (folder, mut journal) = journal();
    journal.finish(TASK, &result(3)).unwrap();
    let path = folder.path().join("trial-0003.epoch-1.json");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replace("0.9", "1.0");
    for (bytes, words) in [(changed.as_str(), "checksum"), (&text[..text.len() / 2], "cut off"), ("", "cut off")] {
        fs::write(&path, bytes).unwrap();
        let sentence = Journal::open(folder.path()).unwrap().0.refresh().unwrap_err().to_string();
        assert!(sentence.contains(words) && sentence.contains("delete this file"), "{sentence}");
    }
}

/// Without it a search can't go on: it is not what results are, which are made again.
#[test]
fn a_damaged_study_is_not_to_be_deleted() {
    let (folder, _) = journal();
    let path = folder.path().join("search.json");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replace("\"seed\":0", "\"seed\":1");
    for (bytes, words) in [(changed.as_str(), "checksum"), (&text[..text.len() / 2], "cut off"), ("", "cut off")] {
        fs::write(&path, bytes).unwrap();
        let sentence = Journal::open(folder.path()).map(drop).unwrap_err().to_string();
        assert!(sentence.contains(words) && sentence.contains("another name"), "{sentence}");
        assert!(!sentence.contains("delete"), "{sentence}");
    }
}

#[test]
fn a_result_of_another_space_is_told_too() {
    let (folder, mut journal) = journal();
    let short = Trial { values: vec!["0.01".into()], ..result(3) };
    assert!(journal.finish(TASK, &short).is_err());
    let sentence = Journal::open(folder.path()).unwrap().0.refresh().unwrap_err().to_string();
    assert!(sentence.contains("1 values where 3 parameters are searched"), "{sentence}");
}
