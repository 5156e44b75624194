//! The searchers on functions whose best place is known.

use super::brackets::{Rung, brackets};
use super::importance::importance;
use super::median::is_bad;
use super::plan::open_tasks;
use super::propose::propose;
use super::space::Space;
use super::study::{Algorithm, Objective, Stopping, Study};
use super::trial::{Ending, Task, Trial, Trials};
use crate::random::mix;
use crate::session::DataMark;
use crate::train::history::Measured;
use crate::train::settings::Settings;

/// A learning rate that matters, a dropout that matters a little, and a batch size that does not.
const SPACE: &str = "[parameters]\nlr = { from = 1e-4, to = 1.0, log = true }\ndropout = { from = 0.0, to = 0.9 }\nbatch-size = [32, 64, 128]";

pub fn study(algorithm: Algorithm, trials: u32, epochs: u32, seed: u64) -> Study {
    Study {
        space: Space::parse(SPACE, "test").unwrap(),
        objective: Objective::ValLoss,
        algorithm,
        stopping: Stopping::None,
        trials,
        epochs,
        lag: 4,
        seed,
        validation_split: 0.2,
        settings: Settings::default(),
        data: DataMark { name: "none".into(), fingerprint: 7 },
    }
}

/// A bowl with its lowest point at lr 0.02 and dropout 0.3, which is seen ever more clearly with more epochs.
fn loss(study: &Study, values: &[String], epoch: usize) -> f64 {
    let places = study.space.places(values);
    let bowl = (places[0] - study.space.places(&["0.02".into(), "0".into(), "32".into()])[0]).powi(2)
        + 0.1 * (places[1] - 1.0 / 3.0).powi(2);
    bowl + 1.0 / (1.0 + epoch as f64)
}

/// Does a whole search; `order` chooses which of the open tasks is finished next.
fn search(study: &Study, mut order: impl FnMut(usize) -> usize) -> Trials {
    let mut trials = Trials::default();
    loop {
        let open = open_tasks(study, &trials);
        let Some(task) = open.get(order(open.len().max(1)).min(open.len().saturating_sub(1))).copied() else {
            return trials;
        };
        trials.learn(work(study, task, &trials));
    }
}

fn work(study: &Study, Task { trial, epochs }: Task, trials: &Trials) -> Trial {
    let values = propose(study, trial, trials);
    let (mut scores, mut ending) = (Vec::new(), Ending::Reached);
    for epoch in 1..=epochs as usize {
        scores.push(Measured { loss: loss(study, &values, epoch), accuracy: 0.5 });
        if is_bad(study, trial, &scores, trials) {
            ending = Ending::Stopped;
            break;
        }
    }
    Trial { number: trial, values, scores, ending, seconds: 0.0, worker: "test".into() }
}

fn best_loss(study: &Study) -> f64 {
    let trials = search(study, |_| 0);
    trials.best(study.objective).unwrap().cost(study.objective) - 1.0 / (1.0 + f64::from(study.epochs))
}

#[test]
fn tpe_comes_nearer_to_the_lowest_point_than_chance() {
    let mean = |algorithm| (0..20).map(|seed| best_loss(&study(algorithm, 60, 1, seed)).ln()).sum::<f64>() / 20.0;
    let (by_chance, tpe) = (mean(Algorithm::Random), mean(Algorithm::Tpe));
    assert!(tpe < by_chance - 0.5, "mean log loss above the lowest: tpe {tpe:.2}, random {by_chance:.2}");
}

#[test]
fn hyperband_gives_its_epochs_to_the_best() {
    let study = study(Algorithm::Hyperband, 17, 9, 3);
    let rungs: Vec<Vec<(u32, u32)>> = brackets(&study)
        .iter()
        .map(|bracket| bracket.rungs.iter().map(|&Rung { trials, epochs }| (trials, epochs)).collect())
        .collect();
    assert_eq!(rungs, [vec![(9, 1), (3, 3), (1, 9)], vec![(5, 3), (1, 9)], vec![(3, 9)]]);
    let trials = search(&study, |_| 0);
    let epochs: usize = trials.iter().map(|trial| trial.scores.len()).sum();
    assert_eq!(epochs, 6 + 2 * 3 + 9 + 4 * 3 + 9 + 27, "a third of each rung goes on, from where it was");
    let first: Vec<&Trial> = trials.iter().take(9).collect();
    let longest = first.iter().max_by_key(|trial| trial.scores.len()).unwrap();
    let best =
        first.iter().min_by(|a, b| a.cost_after(study.objective, 1).total_cmp(&b.cost_after(study.objective, 1)));
    assert_eq!(longest.number, best.unwrap().number);
}

#[test]
fn only_where_brackets_are_planned_are_more_trials_another_search() {
    let difference = |algorithm| study(algorithm, 40, 9, 1).difference(&study(algorithm, 20, 9, 1));
    for algorithm in [Algorithm::Random, Algorithm::Tpe] {
        assert_eq!(difference(algorithm), None, "it grows");
    }
    for algorithm in [Algorithm::Halving, Algorithm::Hyperband] {
        assert_eq!(difference(algorithm).unwrap(), "its brackets are planned for 20 trials, not 40");
    }
}

#[test]
fn halving_ends_with_one_of_many() {
    let study = study(Algorithm::Halving, 27, 27, 1);
    let trials = search(&study, |_| 0);
    let with = |epochs: usize| trials.iter().filter(|trial| trial.scores.len() == epochs).count();
    assert_eq!([with(1), with(3), with(9), with(27)], [18, 6, 2, 1]);
    let ranking = trials.ranking(study.objective);
    assert_eq!(ranking[0].scores.len(), 27);
}

/// The guarantee: whoever is faster, the same trials come out.
#[test]
fn what_is_tried_does_not_depend_on_who_finishes_first() {
    for algorithm in [Algorithm::Random, Algorithm::Tpe, Algorithm::Halving, Algorithm::Hyperband] {
        let study = Study { stopping: Stopping::Median, ..study(algorithm, 30, 9, 5) };
        let in_order = search(&study, |_| 0);
        assert_eq!(in_order.len(), 30);
        for run in 0..5_u64 {
            let mut drawn = run << 32;
            let shuffled = search(&study, |open| {
                drawn += 1;
                mix(drawn) as usize % open
            });
            assert_eq!(shuffled, in_order, "{algorithm}");
        }
        let other = search(&Study { seed: 6, ..study.clone() }, |_| 0);
        assert_ne!(other, in_order, "another seed is another search");
    }
}

#[test]
fn bad_trials_are_given_up_and_the_best_is_not() {
    let all = study(Algorithm::Random, 40, 8, 2);
    let some = Study { stopping: Stopping::Median, ..all.clone() };
    let (all_trials, some_trials) = (search(&all, |_| 0), search(&some, |_| 0));
    let epochs = |trials: &Trials| trials.iter().map(|trial| trial.scores.len()).sum::<usize>();
    assert_eq!(epochs(&all_trials), 320);
    assert!(epochs(&some_trials) < 250, "{} epochs", epochs(&some_trials));
    let number = |trials: &Trials| trials.best(Objective::ValLoss).unwrap().number;
    assert_eq!(number(&some_trials), number(&all_trials));
}

#[test]
fn a_small_space_is_tried_once() {
    let space = Space::parse("[parameters]\nbatch-size = [32, 64, 128]\ndropout = [0.1, 0.2]", "test").unwrap();
    for algorithm in [Algorithm::Random, Algorithm::Tpe] {
        let study = Study { space: space.clone(), ..study(algorithm, 50, 1, 0) };
        assert_eq!(study.trials(), 6);
        let mut values: Vec<Vec<String>> = (0..6).map(|number| propose(&study, number, &Trials::default())).collect();
        values.sort();
        values.dedup();
        assert_eq!(values.len(), 6);
    }
}

#[test]
fn what_matters_explains_most() {
    let study = study(Algorithm::Random, 80, 1, 4);
    let shares = importance(&study, &search(&study, |_| 0)).unwrap();
    assert!(shares[0] > 0.5 && shares[0] > 3.0 * shares[1] && shares[2] < 0.1, "{shares:?}");
    assert_eq!(importance(&study, &Trials::default()), None);
}

/// Results of several rungs come in any order.
#[test]
fn the_last_that_is_known_of_a_trial_counts() {
    let after = |epochs: usize, ending: Ending| {
        let scores = vec![Measured { loss: 1.0, accuracy: 0.5 }; epochs];
        Trial { number: 0, values: Vec::new(), scores, ending, seconds: 0.0, worker: "test".into() }
    };
    let early_stop = Ending::EarlyStop { best_epoch: 2 };
    for [first, second] in [
        [after(1, Ending::Reached), after(3, Ending::Reached)],
        [after(1, Ending::Reached), after(1, Ending::Diverged)],
        [after(3, Ending::Reached), after(5, early_stop)],
    ] {
        for order in [[&first, &second], [&second, &first]] {
            let trials: Trials = order.into_iter().cloned().collect();
            assert_eq!(trials.get(0), Some(&second));
        }
    }
}
