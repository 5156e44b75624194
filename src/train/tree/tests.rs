//! What is kept, where branches begin, and that nothing is lost on the way.

use std::sync::Arc;

use super::{Fork, Tree, TreeError};
use crate::nn::optim::{OptimizerKind, OptimizerState};
use crate::nn::{NamedTensor, NetworkState};
use crate::train::history::History;
use crate::train::settings::Settings;
use crate::train::{Progress, RunConfig, RunState};

/// The end of an epoch of 10 steps, whose weights take `bytes`.
fn sized(epoch: u32, bytes: usize) -> RunState {
    let values = vec![epoch as f32; bytes / 4];
    let tensor = NamedTensor { name: "1.weight".into(), shape: vec![values.len()], values };
    RunState {
        config: RunConfig {
            arch: "flatten dense10".parse().expect("it is one"),
            seed: 1,
            validation_split: 0.2,
            teacher: None,
        },
        settings: Settings::default(),
        progress: Progress { epoch, step: u64::from(epoch) * 10, ..Progress::default() },
        network: NetworkState {
            tensors: vec![tensor],
            trained: None,
            optimizer: OptimizerState { kind: OptimizerKind::Adam, updates: 0, moments: Vec::new() },
        },
        best: None,
        history: History::default(),
    }
}

fn end(epoch: u32) -> RunState {
    sized(epoch, 8)
}

fn grown(epochs: u32, most: usize) -> Tree {
    let mut tree = Tree::default();
    (0..=epochs).for_each(|epoch| tree.keep(Arc::new(end(epoch)), most));
    tree
}

fn epochs(tree: &Tree) -> Vec<u32> {
    tree.branch().kept.iter().map(|state| state.progress.epoch).collect()
}

#[test]
fn the_oldest_epochs_go_first() {
    assert_eq!(epochs(&grown(5, 10)), [0, 1, 2, 3, 4, 5]);
    assert_eq!(epochs(&grown(5, 3)), [3, 4, 5]);
    assert_eq!(epochs(&grown(5, 0)), [0; 0]);
    let error = grown(5, 3).at(1).unwrap_err();
    assert_eq!(error, TreeError::NotKept { epoch: 1, kept: "there are 3, 4, 5".into() });
    assert_eq!(grown(5, 3).at(4).unwrap().progress.epoch, 4);
}

#[test]
fn what_lies_ahead_stays_until_the_run_is_there_again() {
    let mut tree = grown(5, 10);
    tree.rewind(&end(3), end(5)).unwrap();
    assert_eq!(tree.ahead().unwrap().progress.epoch, 5);
    tree.rewind(&end(1), end(3)).unwrap();
    assert_eq!(tree.ahead().unwrap().progress.epoch, 5, "the end is the end");
    tree.rewind(&end(5), end(1)).unwrap();
    assert!(tree.ahead().is_none());
}

#[test]
fn a_setting_changed_at_the_end_of_a_branch_stays_there() {
    let mut edited = end(5);
    edited.settings.learning_rate = 0.5;
    let mut tree = grown(5, 10);
    tree.rewind(&end(1), edited.clone()).unwrap();
    tree.rewind(&end(5), end(1)).unwrap();
    assert_eq!(**tree.ahead().unwrap(), edited);
    assert_eq!(*tree.switch(0, end(5)).unwrap(), edited);
    let mut keeps_more = end(5);
    keeps_more.settings.keep += 1;
    tree.rewind(&end(1), keeps_more).unwrap();
    tree.rewind(&end(5), end(1)).unwrap();
    assert!(tree.ahead().is_none(), "the run takes it along");
}

#[test]
fn a_branch_begins_where_the_run_is_and_the_other_keeps_its_end() {
    let mut tree = grown(5, 10);
    tree.rewind(&end(3), end(5)).unwrap();
    tree.fork("b".into(), end(3)).unwrap();
    assert_eq!((tree.on(), epochs(&tree).as_slice()), (1, &[0, 1, 2, 3][..]));
    assert_eq!(tree.branch().fork, Some(Fork { branch: "main".into(), epoch: 3, step: 30 }));
    tree.keep(Arc::new(end(4)), 10);
    assert_eq!(tree.switch(0, end(4)).unwrap().progress.epoch, 5);
    assert_eq!((tree.on(), epochs(&tree).len()), (0, 6));
    assert_eq!(tree.switch(0, end(5)).unwrap_err(), TreeError::Here("main".into()));
    assert_eq!(tree.switch(1, end(5)).unwrap().progress.epoch, 4);
}

#[test]
fn names_are_free() {
    let mut tree = grown(1, 10);
    for expected in ["main-2", "main-3", "main-4"] {
        let name = tree.free_name();
        assert_eq!(name, expected);
        tree.fork(name, end(1)).unwrap();
    }
}

#[test]
fn states_that_are_too_large_are_not_kept() {
    let mut tree = Tree::default();
    for epoch in 0..4 {
        tree.keep(Arc::new(sized(epoch, 100 << 20)), 10);
    }
    assert_eq!(epochs(&tree), [2, 3]);
    assert_eq!(tree.fork("b".into(), sized(3, 100 << 20)).unwrap_err(), TreeError::Full(100));
    assert_eq!((tree.branches().len(), tree.on()), (1, 0));
    let mut averaged = sized(4, 100 << 20);
    averaged.network.trained = Some(averaged.network.tensors.clone());
    tree.keep(Arc::new(averaged), 10);
    assert_eq!(epochs(&tree), [4], "an average is as large again");
}
