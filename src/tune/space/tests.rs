//! What is a space, what is none and why, and that no text makes the reader panic.

use proptest::prelude::any;
use proptest::{prop_assert_eq, proptest};

use super::{Space, TUTORIAL};
use crate::train::settings::{Setting, Settings};
use crate::tune::values::{Kind, Range, Scale, Values};

fn parse(text: &str) -> Result<Space, String> {
    Space::parse(text, "space.toml").map_err(|error| error.to_string())
}

#[test]
fn the_tutorials_space_is_what_it_says() {
    let space = parse(TUTORIAL).unwrap();
    let names: Vec<&str> = space.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    assert_eq!(names, ["units", "lr", "dropout", "batch-size"], "in the order of the file");
    let values = space.values(&[0.4, 0.5, 0.9, 0.9]);
    assert_eq!(values, ["64", "0.00173", "0.5", "128"]);
    assert_eq!(space.arch(&values).unwrap().preset(), Some("tutorial"));
    let settings = space.settings(&Settings::default(), &values).unwrap();
    assert_eq!((settings.learning_rate, settings.dropout, settings.batch_size), (0.00173, 0.5, 128));
    assert_eq!(space.values(&space.places(&values)), values);
    assert_eq!(space.combinations(), None);
}

#[test]
fn a_flag_takes_a_parameter_out() {
    let space = parse(TUTORIAL).unwrap().without(Setting::LearningRate);
    assert_eq!(space.combinations(), Some(4 * 6 * 3));
    let space = space.with_arch("mlp").unwrap();
    assert_eq!(space.combinations(), Some(6 * 3));
    assert!(space.with_arch("flatten dense{wide} dense10").unwrap_err().to_string().contains("{wide}"));
}

#[test]
fn what_can_not_be_searched_is_refused_with_a_sentence() {
    let in_parameters = |line: &str| format!("[parameters]\n{line}");
    for (text, words) in [
        ("arch = 3".to_owned(), "`arch` must be text"),
        ("arch = \"dense{units\"".into(), "not closed"),
        ("objective = \"test_accuracy\"".into(), "val_accuracy"),
        ("[parameters]".into(), "nothing is searched"),
        ("speed = 3".into(), "`speed`"),
        ("parameters = 3".into(), "must be a table"),
        ("[settings]\nepochs = 3\n[parameters]\nlr = [0.1]".into(), "--epochs"),
        ("[settings]\ndropot = 3\n[parameters]\nlr = [0.1]".into(), "dropout"),
        (in_parameters("lr = 0.1"), "use a list"),
        (in_parameters("lr = []"), "empty"),
        (in_parameters("lr = [\"fast\"]"), "`fast` is no lr"),
        (in_parameters(&format!("lr = [0.1, \"fast\"{}]", ", 0.1".repeat(60))), "`fast` is no lr"),
        (in_parameters("lr = { from = 1e-3 }"), "`from` and `to`"),
        (in_parameters("lr = { from = 1e-2, to = 1e-3 }"), "less than"),
        (in_parameters("lr = { from = 0.0, to = 1e-3, log = true }"), "above 0"),
        (in_parameters("lr = { from = 1e-3, to = 1e-2, log = 1 }"), "true or false"),
        (in_parameters("lr = { from = 1e-3, to = 1e-2, steps = 1 }"), "`steps`"),
        (in_parameters("batch-size = { from = 1, to = 9, step = 0 }"), "above 0"),
        (in_parameters("batch-size = { from = 1, to = 9000 }"), "batch-size"),
        (in_parameters("units = [32]"), "fills no gap"),
        (in_parameters("lr = [0.1]\nlr = [0.2]"), "duplicate key"),
        (in_parameters("lr = [0.1]\nlearning-rate = [0.2]"), "twice"),
        ("arch = \"flatten dense{units}\"\n[parameters]\nunits = [32]".into(), "no values make a network"),
    ] {
        let sentence = parse(&text).unwrap_err();
        assert!(sentence.starts_with("space.toml: ") && sentence.contains(words), "{text}: {sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
}

proptest! {
    /// No text makes the reader panic, near to a space or not.
    #[test]
    fn any_text_is_a_space_or_refused(text in any::<String>(), from in any::<f64>(), to in any::<f64>(), step in any::<f64>()) {
        let _ = parse(&text);
        let _ = parse(&format!("arch = \"flatten {{n * dense{text}}} dense10\"\n[parameters]\nn = [1]"));
        let _ = parse(&format!("[parameters]\nlr = {{ from = {from:?}, to = {to:?}, step = {step:?} }}"));
        let _ = parse(&format!("[parameters]\nlr = {{ from = {from:?}, to = {to:?}, log = true }}"));
    }

    /// What was drawn is found again in the space.
    #[test]
    fn a_value_has_its_place(from in -1e3..1e3_f64, width in 1e-3..1e3_f64, place in 0.0..1.0_f64) {
        let text = format!("arch = \"dense{{x}} flatten dense10\"\n[parameters]\nx = {{ from = {from:?}, to = {:?} }}", from + width);
        // The network is none, the values are checked without it.
        prop_assert_eq!(parse(&text).is_err(), true);
        let range = Range { from, to: from + width, step: None, scale: Scale::Linear, kind: Kind::Real };
        let values = Values::Range(range);
        let text = values.at(place);
        prop_assert_eq!(values.at(values.place(&text).unwrap()), text);
    }
}
