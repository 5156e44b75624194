//! Each optimizer against the formulas of its paper in `f64`, and the names of the optimizers.

use dfdx::tensor::Cpu;

use super::super::Step;
use super::super::composed::Composed;
use super::super::param::{Kind, Parameters};
use super::{Optimizer, OptimizerKind};
use crate::random::{Purpose, Stream};

const LEARNING_RATE: f64 = 0.01;
const DECAY: f64 = 0.1;

/// One value's weight and moments.
#[derive(Clone, Copy)]
struct Value {
    w: f64,
    m: f64,
    v: f64,
}

/// One update by the formulas, `t` from 1.
fn reference(kind: OptimizerKind, value: &mut Value, gradient: f64, decay: f64, t: i32) {
    let Value { w, m, v } = value;
    let l2 = gradient + decay * *w;
    let adam = |m: &mut f64, v: &mut f64, gradient: f64| {
        *m = 0.9 * *m + 0.1 * gradient;
        *v = 0.999 * *v + 0.001 * gradient * gradient;
        (*m / (1.0 - 0.9_f64.powi(t))) / ((*v / (1.0 - 0.999_f64.powi(t))).sqrt() + 1e-7)
    };
    let update = match kind {
        OptimizerKind::Adam => adam(m, v, l2),
        OptimizerKind::AdamW => adam(m, v, gradient) + decay * *w,
        OptimizerKind::Sgd { momentum, nesterov } => {
            *m = momentum * *m + l2;
            if nesterov { momentum * *m + l2 } else { *m }
        }
        OptimizerKind::RmsProp => {
            *v = 0.9 * *v + 0.1 * l2 * l2;
            l2 / (*v + 1e-7).sqrt()
        }
    };
    *w -= LEARNING_RATE * update;
}

#[test]
fn updates_equal_the_formulas() {
    for text in ["adam", "adamw", "sgd", "sgd:momentum=0.9", "sgd:momentum=0.8:nesterov", "rmsprop"] {
        let kind: OptimizerKind = text.parse().expect("the name is right");
        let arch = "flatten dense3 bn dense10".parse().expect("the architecture is right");
        let mut parameters: Parameters<f64, Cpu> = Parameters::new(&arch, Cpu::default(), 3).expect("the CPU");
        let mut gradients = parameters.zeros().expect("the CPU");
        let mut optimizer = Optimizer::default();
        let mut expected: Vec<Vec<Value>> = parameters
            .values
            .iter()
            .map(|values| values.iter().map(|&w| Value { w, m: 0.0, v: 0.0 }).collect())
            .collect();
        let mut plan = Composed::new(&arch, &parameters.device).expect("the CPU");
        for number in 0..6 {
            let step =
                Step { number, learning_rate: LEARNING_RATE, optimizer: kind, weight_decay: DECAY, ..Step::default() };
            let mut stream = Stream::new(1, Purpose::Initialise, [7, number]);
            for gradient in gradients.iter_mut().flat_map(|values| values.iter_mut()) {
                *gradient = f64::from(stream.normal());
            }
            optimizer.update(&step, &mut parameters, &gradients, &mut plan).expect("the CPU");
            for ((spec, values), gradient) in parameters.specs.iter().zip(&mut expected).zip(&gradients) {
                let decay = if spec.kind == Kind::Weight { DECAY } else { 0.0 };
                for (value, &gradient) in values.iter_mut().zip(gradient.iter()).filter(|_| spec.kind.is_trained()) {
                    reference(kind, value, gradient, decay, number as i32 + 1);
                }
            }
        }
        for ((spec, values), expected) in parameters.specs.iter().zip(&parameters.values).zip(&expected) {
            for (at, (value, expected)) in values.iter().zip(expected).enumerate() {
                let error = (value - expected.w).abs();
                assert!(error < 1e-9, "{text}: {}[{at}] is {value} instead of {}", spec.name, expected.w);
            }
        }
    }
}

/// How far the first weight goes in each step with these optimizers, in learning rates, where its gradient is always 1.
fn ways(optimizers: &[&str]) -> Vec<f64> {
    let arch = "flatten dense10".parse().expect("the architecture is right");
    let mut parameters: Parameters<f64, Cpu> = Parameters::new(&arch, Cpu::default(), 3).expect("the CPU");
    let mut gradients = parameters.zeros().expect("the CPU");
    for values in &mut gradients {
        values.fill(1.0);
    }
    let mut optimizer = Optimizer::default();
    let mut plan = Composed::new(&arch, &parameters.device).expect("the CPU");
    let way = |text: &&str| {
        let kind = text.parse().expect("the name is right");
        let step = Step { learning_rate: LEARNING_RATE, optimizer: kind, ..Step::default() };
        let before = parameters.values[0][0];
        optimizer.update(&step, &mut parameters, &gradients, &mut plan).expect("the CPU");
        (before - parameters.values[0][0]) / LEARNING_RATE
    };
    optimizers.iter().map(way).collect()
}

#[test]
fn momentum_begins_anew_after_a_time_without() {
    let check = |optimizers: &[&str], expected: &[f64]| {
        let ways = ways(optimizers);
        let near = ways.iter().zip(expected).all(|(way, expected)| (way - expected).abs() < 1e-9);
        assert!(near && ways.len() == expected.len(), "{optimizers:?}: {ways:?} instead of {expected:?}");
    };
    check(&["sgd:momentum=0.9", "sgd:momentum=0.9"], &[1.0, 1.9]);
    check(&["sgd:momentum=0.9", "sgd:momentum=0.5"], &[1.0, 1.5]);
    check(&["sgd:momentum=0.9", "sgd", "sgd:momentum=0.9"], &[1.0, 1.0, 1.0]);
    check(&["sgd", "sgd:momentum=0.9", "sgd:momentum=0.9"], &[1.0, 1.0, 1.9]);
}

#[test]
fn names_go_both_ways() {
    for text in ["adam", "adamw", "sgd", "sgd:momentum=0.9", "sgd:momentum=0.9:nesterov", "rmsprop"] {
        assert_eq!(text.parse::<OptimizerKind>().map(|kind| kind.to_string()), Ok(text.to_owned()));
    }
    let check = |text: &str, expected: &str| {
        let error = text.parse::<OptimizerKind>().expect_err("the text is wrong").to_string();
        assert!(error.contains(expected), "{text}: {error}");
    };
    check("adma", "`adma` is no optimizer: did you mean `adam`?");
    check("adamww", "`adamww` is no optimizer: did you mean `adamw`?");
    check("ADAMW", "`ADAMW` is no optimizer: did you mean `adamw`?");
    check("", "there are adam, adamw, sgd");
    check("adam:momentum=0.9", "adam has no options, but got `momentum=0.9`");
    check("sgd:momentum=1.5", "from 0 to below 1, but is `1.5`");
    check("sgd:momentum=NaN", "from 0 to below 1, but is `NaN`");
    check("sgd:nesterov", "nesterov needs a momentum");
    check("sgd:heavy", "`heavy` is no option of sgd");
}
