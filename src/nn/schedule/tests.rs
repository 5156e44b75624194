//! Schedules at their landmarks, and their names.

use proptest::prelude::{any, prop_assert, proptest};

use super::Schedule;

fn parse(text: &str) -> Schedule {
    text.parse().expect("the test's schedule is right")
}

#[test]
fn factors_at_the_landmarks_of_ten_epochs() {
    let check = |text: &str, landmarks: &[(f64, f64)]| {
        for &(done, expected) in landmarks {
            let factor = parse(text).factor(done, 10);
            assert!((factor - expected).abs() < 1e-9, "{text} after {done}: {factor} instead of {expected}");
        }
    };
    check("constant", &[(0.0, 1.0), (9.9, 1.0)]);
    check("step:3:0.5", &[(0.0, 1.0), (2.99, 1.0), (3.0, 0.5), (6.0, 0.25), (9.5, 0.125)]);
    check("cosine", &[(0.0, 1.0), (2.5, 0.853_553_390_6), (5.0, 0.5), (10.0, 0.0), (12.0, 0.0)]);
    check("onecycle", &[(0.0, 0.04), (1.5, 0.52), (3.0, 1.0), (6.5, 0.500_002), (10.0, 4e-6)]);
    check("warmup:2", &[(0.0, 0.0), (1.0, 0.5), (2.0, 1.0), (9.0, 1.0)]);
    check("warmup:0", &[(0.0, 1.0)]);
    check("warmup:2:cosine", &[(0.0, 0.0), (1.0, 0.5), (2.0, 1.0), (6.0, 0.5), (10.0, 0.0)]);
}

#[test]
fn names_go_both_ways() {
    for text in ["constant", "step:5:0.5", "cosine", "onecycle", "warmup:2", "warmup:0.5", "warmup:1:cosine"] {
        assert_eq!(parse(text).to_string(), text);
    }
    let check = |text: &str, expected: &str| {
        let error = text.parse::<Schedule>().expect_err("the text is wrong").to_string();
        assert!(error.contains(expected), "{text}: {error}");
    };
    check("linear", "`linear` is no schedule: there are constant, step:EPOCHS:FACTOR, cosine");
    check("cosin", "did you mean `cosine`?");
    check("OneCycle", "did you mean `onecycle`?");
    check("step:0:0.5", "a drop comes every 1 to 10000 epochs, as in step:5:0.5");
    check("step:5:1.5", "a drop multiplies by 0 to 1, as in step:5:0.5");
    check("warmup:NaN", "the warm-up takes 0 to 10000 epochs, as in warmup:2");
    check("warmup:-1", "the warm-up takes 0 to 10000 epochs");
    check("warmup", "there are");
}

proptest! {
    #[test]
    fn a_factor_is_finite_whatever_goes_in(
        kind in 0..6, epochs in any::<u32>(), number in any::<f64>(), done in any::<f64>(), total in any::<u32>(),
    ) {
        let schedule = match kind {
            0 => Schedule::Constant,
            1 => Schedule::Step { epochs, factor: number },
            2 => Schedule::Cosine,
            3 => Schedule::OneCycle,
            4 => Schedule::WarmUp { epochs: number },
            _ => Schedule::WarmUpCosine { epochs: number },
        };
        let factor = schedule.factor(done, total);
        prop_assert!(factor.is_finite() && factor >= 0.0, "{factor}");
    }
}
