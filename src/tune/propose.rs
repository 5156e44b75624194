//! With which values a trial is made: by chance, or near to what was good so far.

use std::convert::Infallible;

use rand::TryRng;
use tpe::TpeOptimizerBuilder;

use super::space::Parameter;
use super::study::{Algorithm, Study};
use super::trial::{Trial, Trials};
use super::values::Values;
use crate::random::{Purpose, Stream};

/// Trials by chance before estimates are made of them.
const BY_CHANCE: usize = 8;
/// Draws until values are new and make a network; a space that is nearly used up may have none left that are.
const TRIES: u64 = 200;
/// The share of trials that counts as good.
const GOOD: f64 = 0.2;

/// The values of trial `number`, the same whoever asks: they follow from the study and the results of the trials that began
/// `lag` and more before it, which must all be in `trials`.
pub fn propose(study: &Study, number: u32, trials: &Trials) -> Vec<String> {
    let mut earlier: Vec<Vec<String>> = Vec::new();
    for other in 0..number {
        let known = trials.get(other).map(|trial| trial.values.clone());
        let values = known.unwrap_or_else(|| new_values(study, other, trials, &earlier));
        earlier.push(values);
    }
    trials.get(number).map_or_else(|| new_values(study, number, trials, &earlier), |trial| trial.values.clone())
}

/// Values that no earlier trial has and that make a network.
fn new_values(study: &Study, number: u32, trials: &Trials, earlier: &[Vec<String>]) -> Vec<String> {
    let known: Vec<&Trial> = trials.before(number, study).collect();
    let draw = |attempt: u64| {
        let mut stream = Stream::new(study.seed, Purpose::Search, [u64::from(number), attempt]);
        if study.algorithm == Algorithm::Tpe && known.len() >= BY_CHANCE {
            estimate(study, &known, stream)
        } else {
            let places: Vec<f64> = study.space.parameters.iter().map(|_| f64::from(stream.unit())).collect();
            study.space.values(&places)
        }
    };
    let fits = |values: &Vec<String>| study.space.arch(values).is_ok();
    let new = |values: &Vec<String>| fits(values) && !earlier.contains(values);
    // Where nothing new is left, twice the same is better than nothing.
    (0..TRIES).map(draw).find(new).or_else(|| (0..TRIES).map(draw).find(fits)).unwrap_or_else(|| draw(0))
}

/// Draws each parameter where good trials are denser than others.
fn estimate(study: &Study, known: &[&Trial], stream: Stream) -> Vec<String> {
    let mut draws = Draws(stream);
    let costs: Vec<f64> = known.iter().map(|trial| trial.cost(study.objective)).collect();
    let parameters = study.space.parameters.iter().enumerate();
    let value = |(index, parameter): (usize, &Parameter)| {
        let places = known.iter().map(|trial| parameter.values.place(&trial.values[index]).unwrap_or(0.5));
        estimate_one(&parameter.values, places.zip(costs.iter().copied()), &mut draws)
    };
    parameters.map(value).collect()
}

fn estimate_one(values: &Values, known: impl Iterator<Item = (f64, f64)>, draws: &mut Draws) -> String {
    let (kinds, estimator) = match values {
        Values::Choice(all) => (all.len() as f64, tpe::histogram_estimator()),
        Values::Range(_) => (1.0, tpe::parzen_estimator()),
    };
    // The crate knows nothing that these could refuse: the range is none that is empty, the places lie within.
    let optimizer = tpe::range(0.0, kinds)
        .ok()
        .and_then(|range| TpeOptimizerBuilder::new().gamma(GOOD).build(estimator, range).ok());
    let Some(mut optimizer) = optimizer else { return values.at(0.5) };
    for (place, cost) in known {
        let _ = optimizer.tell((place * kinds).min(kinds.next_down()), cost);
    }
    let place = optimizer.ask(draws).unwrap_or(0.5 * kinds);
    // A kind is told by its number, the first of its share.
    values.at(if kinds > 1.0 { (place.floor() + 0.5) / kinds } else { place })
}

/// The project's own stream of random numbers, as `rand` wants it.
struct Draws(Stream);

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.0.next_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.0.next_u64().to_le_bytes()[..part.len()]);
        }
        Ok(())
    }
}
