//! TensorFlow Lite: images `[n, 28, 28, 1]` in, probabilities `[n, 10]` out, in floating point or quantised.

mod lower;
mod quantize;
mod run;
mod table;
mod writer;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::graph::Graph;
use crate::command::Quantization;
use crate::data::{Image, Images};
use crate::lab::model::Model;
use crate::metrics::argmax;
use lower::Program;
use quantize::{calibrate, halved, keep, keep_at, rounded};
use writer::Numbers;

/// A file and what its numbers cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// Test accuracy with the numbers as the file keeps them, if it does not keep them whole.
    pub accuracy: Option<f64>,
}

/// `model` as a file whose numbers are kept as `quantization` says. What that costs is measured on the test set with the
/// rounding that the runtime does.
pub fn encode(model: &Model, quantization: Quantization) -> Encoded {
    let graph = Graph::new(&model.arch, &model.tensors, model.card.dropout);
    let program = lower::lower(&graph);
    let write = |numbers: Numbers| writer::write(&program, numbers, &model.card);
    match quantization {
        Quantization::None => Encoded { bytes: write(Numbers::Float), accuracy: None },
        Quantization::F16 => {
            let accuracy = accuracy(&halved(program.clone()), &model.test, |_| {}, |_, _| {});
            Encoded { bytes: write(Numbers::Half), accuracy: Some(accuracy) }
        }
        Quantization::Dynamic => {
            let accuracy = accuracy(&rounded(program.clone(), None), &model.test, keep, |_, _| {});
            Encoded { bytes: write(Numbers::Dynamic), accuracy: Some(accuracy) }
        }
        Quantization::Int8 => {
            let scales = calibrate(&program, &model.train);
            let quantized = rounded(program.clone(), Some(&scales));
            let accuracy = accuracy(&quantized, &model.test, |_| {}, |value, numbers| keep_at(numbers, scales[value]));
            Encoded { bytes: write(Numbers::Int8(&scales)), accuracy: Some(accuracy) }
        }
    }
}

/// The probabilities that the operations of the file give for `image`, in floating point.
pub fn probabilities(model: &Model, image: &Image) -> Vec<f32> {
    let graph = Graph::new(&model.arch, &model.tensors, model.card.dropout);
    run::run(&lower::lower(&graph), image, &|_| {}, &mut |_, _| {})
}

fn accuracy(
    program: &Program,
    test: &Images,
    change: impl Fn(&mut [f32]) + Sync,
    observe: impl Fn(usize, &mut [f32]) + Sync,
) -> f64 {
    let right = |index: &usize| {
        let probabilities =
            run::run(program, test.image(*index), &change, &mut |value, numbers| observe(value, numbers));
        probabilities.try_into().is_ok_and(|probabilities| argmax(&probabilities) == test.label(*index))
    };
    (0..test.len()).into_par_iter().filter(right).count() as f64 / test.len() as f64
}
