//! Pictures of single panes, each small and large.

use ratatui::backend::TestBackend;
use ratatui::layout::Rect;

use super::theme;
use crate::data::CLASSES;
use crate::data::augment::Augment;
use crate::reply::{Classified, Reply};
use crate::state::LabState;
use crate::tui::graphics::Graphics;
use crate::tui::graphics::choice::Choice;
use crate::tui::keymap::Action;
use crate::tui::panes::charts::Charts;
use crate::tui::panes::confusion::ConfusionMatrix;
use crate::tui::panes::digits::Digits;
use crate::tui::panes::{Context, Pane};
use crate::tui::samples;

/// The inside of a pane at 110×32, and of one that fills a screen of 120×40.
const SIZES: [(&str, u16, u16); 2] = [("small", 60, 11), ("large", 116, 34)];

/// `pane` after these keys.
#[track_caller]
fn check(name: &str, lab: &LabState, mut pane: impl Pane, actions: &[Action]) {
    let (theme, graphics) = (theme(), Graphics::new(Choice::HalfBlocks, |_| None, None));
    for action in actions {
        assert!(pane.handle(*action, lab).is_some(), "{action:?}");
    }
    for (size, width, height) in SIZES {
        let context = Context { lab, theme: &theme, graphics: &graphics, focused: true };
        let mut terminal = ratatui::Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| pane.render(&context, Rect::new(0, 0, width, height), frame.buffer_mut())).unwrap();
        insta::assert_snapshot!(format!("{name}_{size}"), terminal.backend().to_string());
    }
}

#[test]
fn curves() {
    let [left, top, scale, closer] = [Action::Left, Action::Top, Action::Scale, Action::ZoomIn];
    check("curves_live", &samples::training(), Charts::default(), &[]);
    check("curves_cursor", &samples::training(), Charts::default(), &[left; 20]);
    check("curves_at_a_change", &samples::training(), Charts::default(), &[left; 45]);
    check("curves_first_step", &samples::training(), Charts::default(), &[top]);
    check("curves_linear", &samples::training(), Charts::default(), &[scale]);
    check("curves_closer", &samples::training(), Charts::default(), &[closer, closer, closer, left]);
    check("curves_of_one_epoch", &samples::epochs(1), Charts::default(), &[]);
    check("curves_of_many_epochs", &samples::epochs(30), Charts::default(), &[left]);
    let epoch = Action::PreviousEpoch;
    check("curves_of_epochs", &samples::training(), Charts::default(), &[epoch, epoch]);
    check("curves_of_branches", &samples::rewound(), Charts::default(), &[]);
    check("curves_ahead", &samples::rewound(), Charts::default(), &[epoch]);
    let [across, range, smooth, view] = [Action::Across, Action::Range, Action::Smoothing, Action::NextPage];
    check("curves_by_step", &samples::training(), Charts::default(), &[across]);
    check("curves_by_time", &samples::rewound(), Charts::default(), &[across, across, left]);
    check("curves_smoother", &samples::training(), Charts::default(), &[smooth, smooth, smooth]);
    check("curves_not_smoothed", &samples::training(), Charts::default(), &[smooth, smooth, smooth, smooth]);
    check("curves_without_outliers", &samples::diverged(), Charts::default(), &[range]);
    check("curves_by_layer", &samples::training(), Charts::default(), &[view]);
    let [enter, down, search] = [Action::Enter, Action::Down, Action::Search];
    check("search", &samples::searching(), Charts::default(), &[search, down, down, enter]);
    check("search_lines", &samples::searching(), Charts::default(), &[search, view]);
    check("search_none", &samples::paused(), Charts::default(), &[search]);
    check("curves_by_layer_cursor", &samples::training(), Charts::default(), &[view, scale, left]);
    check("curves_of_weights", &samples::training(), Charts::default(), &[view, view]);
    check("curves_not_measured", &samples::ready(), Charts::default(), &[view]);
    check("curves_on_a_gpu", &samples::on_a_gpu(), Charts::default(), &[]);
    check("curves_on_a_gpu_cursor", &samples::on_a_gpu(), Charts::default(), &[view, left]);
    check("curves_no_number", &samples::diverged(), Charts::default(), &[left, Action::Right, top, Action::Bottom]);
}

#[test]
fn confusion() {
    let [down, right, source, scale] = [Action::Down, Action::Right, Action::Source, Action::Scale];
    check("confusion_digits", &samples::training(), ConfusionMatrix::default(), &[down, right, right]);
    check("confusion_named", &samples::clothes(), ConfusionMatrix::default(), &[source, down, down, right]);
    check("confusion_shares", &samples::training(), ConfusionMatrix::default(), &[source, scale]);
    let view = Action::NextPage;
    check("confusion_classes", &samples::training(), ConfusionMatrix::default(), &[source, view, down]);
    check("confusion_calibration", &samples::tested(), ConfusionMatrix::default(), &[view, view]);
    check("confusion_uncalibrated", &samples::training(), ConfusionMatrix::default(), &[view, view]);
    check("confusion_without_test", &samples::training(), ConfusionMatrix::default(), &[source, source]);
}

#[test]
fn digits() {
    check("digits_none", &samples::ready(), Digits::default(), &[]);
    check("digits_wrong", &samples::paused(), Digits::default(), &[]);
    check("digits_nearest", &samples::nearest(), Digits::default(), &[]);
    check("digits_forgotten", &samples::forgotten(), Digits::default(), &[]);
    check("digits_named", &samples::clothes(), Digits::default(), &[]);
    check("digits_gallery", &samples::tested(), Digits::default(), &[Action::Gallery, Action::Down]);
    let more = Action::NextPage;
    check("digits_saliency", &samples::explained(), Digits::default(), &[]);
    check("digits_occlusion", &samples::explained(), Digits::default(), &[more]);
    check("digits_evidence", &samples::explained(), Digits::default(), &[more; 2]);
    check("digits_layer", &samples::explained(), Digits::default(), &[more; 3]);
    check("digits_filters", &samples::explained(), Digits::default(), &[Action::PreviousPage]);
    let [draw, pen, down, left] = [Action::Draw, Action::Pen, Action::Down, Action::Left];
    check("digits_paper", &samples::ready(), Digits::default(), &[draw]);
    let mut pane = Digits::default();
    for action in [draw, pen].into_iter().chain([down; 18]).chain([pen, left, left, Action::Eraser, left]) {
        assert!(pane.handle(action, &samples::paused()).is_some(), "{action:?}");
    }
    let mut probabilities = [0.001; 10];
    probabilities[1] = 0.991;
    let said = Classified { probabilities: vec![probabilities], saliency: Vec::new(), epoch: 2, step: 1500 };
    assert!(pane.question(&samples::paused()).is_some());
    pane.answer_drawing(Ok(Reply::Classified(said)));
    check("digits_drawn", &samples::paused(), pane, &[]);
}

#[test]
fn studio() {
    let mut lab = samples::tested();
    lab.settings.augment = Augment::TUTORIAL;
    let [open, down, right] = [Action::Augment, Action::Down, Action::Right];
    check("studio_of_the_run", &lab, Digits::default(), &[open]);
    check("studio_turned", &lab, Digits::default(), &[open, right, down, down, down, down, right, right]);
    check("studio_without_data", &LabState::default(), Digits::default(), &[open]);
}

/// The corruptions of the shown digit, with verdicts if `answered`.
fn corruptions(lab: &LabState, answered: bool) -> Digits {
    let mut pane = Digits::default();
    pane.handle(Action::Corrupt, lab);
    assert_eq!(pane.question(lab).is_some(), lab.run.is_some());
    if answered {
        let row = |number: usize| {
            let mut row = [0.003; CLASSES];
            row[if number % 4 == 1 { 9 } else { 8 }] = if number.is_multiple_of(3) { 0.9997 } else { 0.642 };
            row
        };
        let probabilities = (0..16).map(row).collect();
        pane.answer_corruptions(Ok(Reply::Classified(Classified {
            probabilities,
            saliency: Vec::new(),
            epoch: 2,
            step: 1710,
        })));
    }
    pane
}

#[test]
fn corrupted() {
    check("corruptions", &samples::paused(), corruptions(&samples::paused(), true), &[]);
    check("corruptions_named", &samples::clothes(), corruptions(&samples::clothes(), true), &[]);
    check("corruptions_unanswered", &samples::paused(), corruptions(&samples::paused(), false), &[]);
    check("corruptions_without_data", &LabState::default(), corruptions(&LabState::default(), false), &[]);
}
