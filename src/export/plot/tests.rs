//! What a picture of curves holds, whatever the history.

use std::path::Path;

use super::scene::{Joints, Scene};
use super::{Format, OTHERS, Run, TRAIN, VALIDATION, plot, write};
use crate::export::ExportError;
use crate::train::history::{Blocks, Edit, EpochRecord, History, Measured, StepRecord};

/// A run of `steps` steps whose loss falls, with an epoch every `length` steps.
fn history(steps: u64, length: u64) -> History {
    let mut history = History::default();
    for step in 1..=steps {
        let wobble = ((step * 2_654_435_761) % 1000) as f32 / 1000.0;
        let loss = 2.3 / (1.0 + step as f32 / 20.0) + 0.15 * wobble;
        let accuracy = 1.0 - loss / 3.0;
        history.steps.push(StepRecord { step, loss, accuracy, learning_rate: 1e-3 });
        if step % length == 0 {
            let validation = Measured { loss: f64::from(loss) * 1.1, accuracy: f64::from(accuracy) - 0.01 };
            history.epochs.push(EpochRecord {
                epoch: (step / length) as u32,
                step,
                train_loss: f64::from(loss),
                train_accuracy: f64::from(accuracy),
                validation: Some(validation),
                learning_rate: 1e-3,
                seconds: 1.0,
                samples: length * 64,
            });
        }
    }
    history
}

/// Changes the records of a history, its steps or its epochs.
fn change<T: Copy>(records: &mut Blocks<T>, change: impl FnOnce(&mut [T])) {
    let mut changed: Vec<T> = records.iter().copied().collect();
    change(&mut changed);
    *records = changed.into_iter().collect();
}

fn with_edits(mut history: History, steps: &[u64]) -> History {
    let edit = |&step: &u64| Edit { step, setting: "lr".into(), from: "0.001".into(), to: "0.0003".into() };
    history.edits = steps.iter().map(edit).collect();
    history
}

fn svg(history: &History, title: &str) -> String {
    svg_of(&[Run { name: title, history }])
}

fn svg_of(runs: &[Run]) -> String {
    String::from_utf8(plot(runs, Format::Svg).unwrap()).unwrap()
}

fn polylines(svg: &str) -> usize {
    svg.matches("<polyline").count()
}

#[test]
fn a_png_shows_both_curves() {
    let bytes = plot(&[Run { name: "run-1", history: &history(500, 100) }], Format::Png).unwrap();
    let image = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png).unwrap().to_rgb8();
    let pixels_of = |color: super::RGBColor| image.pixels().filter(|p| p.0 == [color.0, color.1, color.2]).count();
    assert!(pixels_of(TRAIN) > 1000, "the training curve: {}", pixels_of(TRAIN));
    assert!(pixels_of(VALIDATION) > 1000, "the validation curve: {}", pixels_of(VALIDATION));
    let dark = |x: std::ops::Range<u32>| x.flat_map(|x| (0..80).map(move |y| (x, y)));
    let letters = dark(20..200).filter(|&(x, y)| image.get_pixel(x, y).0.iter().all(|&v| v < 100)).count();
    assert!(letters > 100, "the title is drawn with the font inside the program: {letters}");
}

#[test]
fn an_svg_is_whole_and_has_the_curves() {
    let svg = svg(&with_edits(history(500, 100), &[250]), "a <run> & more");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches('<').count(), svg.matches('>').count());
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    assert!(svg.contains("a &lt;run&gt; &amp; more"));
    assert!(svg.contains("lr 0.001 → 0.0003") && svg.contains("epoch 2.50"));
    // Raw, smooth and validation in each chart, beside the grid's and the legend's lines.
    assert!(polylines(&svg) >= 6 && svg.len() < 200_000, "{} lines, {} bytes", polylines(&svg), svg.len());
}

#[test]
fn long_runs_make_no_larger_pictures() {
    let (short, long) = (svg(&history(2_000, 500), "short"), svg(&history(100_000, 25_000), "long"));
    assert!(long.len() < short.len() * 3, "{} against {}", long.len(), short.len());
}

#[test]
fn other_runs_are_drawn_behind_and_named() {
    let (own, longer, unfinished) = (history(500, 100), history(900, 300), history(50, 100));
    let run = |name, history| Run { name, history };
    let svg = svg_of(&[run("run-1", &own), run("main-2", &longer), run("demo", &unfinished)]);
    let color = |color: super::RGBColor| format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2);
    for (name, number) in [("main-2", 0), ("demo", 1)] {
        assert!(svg.contains(name) && svg.matches(&color(OTHERS[number])).count() >= 3, "{name}");
    }
    assert!(!self::svg(&own, "run-1").contains(&color(OTHERS[0])));
}

/// Of several that have no epoch yet each is laid on those of the one that has.
#[test]
fn all_runs_share_the_axis() {
    let (own, other, done) = (history(50, 100), history(60, 100), history(500, 100));
    let run = |name, history| Run { name, history };
    let scene = Scene::new(&[run("run-1", &own), run("main-2", &other), run("demo", &done)], Joints::Mitred);
    assert_eq!(scene.unit, "epoch");
    assert!((scene.end - 5.0).abs() < 1e-9, "{}", scene.end);
}

#[test]
fn a_loss_that_is_no_number_leaves_a_gap() {
    let whole = history(200, 100);
    let mut broken = whole.clone();
    change(&mut broken.steps, |steps| steps[99].loss = f32::NAN);
    let endless = Measured { loss: f64::INFINITY, accuracy: 0.1 };
    change(&mut broken.epochs, |epochs| epochs[1].validation = Some(endless));
    let marks = |svg: &str| svg.matches(&format!("#{:02X}{:02X}{:02X}", 204, 0, 60)).count();
    assert_eq!((marks(&svg(&whole, "")), marks(&svg(&broken, ""))), (0, 2));
    assert!(polylines(&svg(&broken, "")) > polylines(&svg(&whole, "")));
}

#[test]
fn no_history_is_too_odd_to_draw() {
    let mut nothing_finite = history(3, 1);
    change(&mut nothing_finite.steps, |steps| {
        for step in steps {
            (step.loss, step.accuracy) = (f32::NAN, f32::NAN);
        }
    });
    let mut extreme = history(5, 2);
    change(&mut extreme.steps, |steps| (steps[2].loss, steps[3].loss, steps[4].loss) = (f32::MAX, 0.0, -1.0));
    let mut backward = history(6, 2);
    change(&mut backward.epochs, <[EpochRecord]>::reverse);
    let mut far = history(1, 1);
    change(&mut far.steps, |steps| steps[0].step = u64::MAX);
    change(&mut far.epochs, |epochs| epochs[0].step = u64::MAX);
    let many_edits = with_edits(history(30, 10), &(0..30).collect::<Vec<_>>());
    let cases = [
        ("empty", History::default()),
        ("edits alone", with_edits(History::default(), &[0])),
        ("one step", history(1, 10)),
        ("one epoch of one step", history(1, 1)),
        ("nothing finite", nothing_finite),
        ("extreme values", extreme),
        ("epochs out of order", backward),
        ("the last step there can be", far),
        ("many edits", many_edits),
    ];
    for (name, history) in cases {
        for (format, least) in [(Format::Svg, 1000), (Format::Png, 1000), (Format::Csv, 10)] {
            let run = Run { name, history: &history };
            for runs in [&[run][..], &[run, run]] {
                let bytes = plot(runs, format).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(bytes.len() > least, "{name}: {} bytes", bytes.len());
            }
        }
    }
    assert!(svg(&History::default(), "").contains("no step was made yet"));
}

#[test]
fn the_ending_says_what_to_write() {
    for (path, format) in [("a.svg", Format::Svg), ("a.b/c.PNG", Format::Png), ("a.csv", Format::Csv)] {
        assert_eq!(Format::of(Path::new(path)).unwrap(), format);
    }
    for path in ["curves", "curves.jpg", ".svg"] {
        let error = Format::of(Path::new(path)).unwrap_err();
        assert!(error.to_string().contains(".svg, .png or .csv"), "{error}");
    }
}

#[test]
fn files_are_written_or_the_error_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curves.png");
    let bytes = write(&[Run { name: "run", history: &history(10, 5) }], &path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
    let path = folder.path().join("missing/curves.svg");
    let error = write(&[Run { name: "run", history: &history(10, 5) }], &path).unwrap_err();
    assert!(matches!(error, ExportError::Io { .. }) && error.to_string().contains("missing/curves.svg"), "{error}");
}
