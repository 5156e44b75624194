//! Tests of the screen as a whole: pictures of it, and scripts of messages.

mod panes;
mod script;
mod tour;

use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Rect, Size};

use super::graphics::Graphics;
use super::graphics::choice::Choice;
use super::message::Message;
use super::model::{Model, Overlay, View};
use super::panes::PaneId;
use super::samples;
use super::theme::{Background, ColorDepth, Glyphs, Theme};
use super::tour::Tour;
use super::update::update;
use super::view::view;
use super::{Offer, Seat};
use crate::state::LabState;

fn theme() -> Theme {
    Theme::new(ColorDepth::True, Background::Dark, Glyphs::Unicode)
}

fn model(lab: LabState, width: u16, height: u16) -> Model {
    let graphics = Graphics::new(Choice::HalfBlocks, |_| None, None);
    let mut model = Model::new(theme(), graphics, Size::new(width, height), None);
    update(&mut model, Message::State(Arc::new(lab)));
    model
}

/// The screen as text.
fn draw(model: &Model) -> String {
    let size = model.size;
    let mut terminal = Terminal::new(TestBackend::new(size.width, size.height)).unwrap();
    terminal
        .draw(|frame| {
            view(model, frame.area(), frame.buffer_mut());
        })
        .unwrap();
    terminal.backend().to_string()
}

#[track_caller]
fn check(name: &str, lab: LabState, width: u16, height: u16, prepare: impl FnOnce(&mut Model)) {
    let mut model = model(lab, width, height);
    prepare(&mut model);
    insta::assert_snapshot!(name, draw(&model));
}

#[test]
fn the_whole_lab() {
    check("loading_120x40", LabState::default(), 120, 40, |_| {});
    check("ready_120x40", samples::ready(), 120, 40, |_| {});
    check("training_120x40", samples::training(), 120, 40, |_| {});
    check("paused_120x40", samples::paused(), 120, 40, |model| model.focus = PaneId::Digits);
    check("diverged_120x40", samples::diverged(), 120, 40, |model| model.focus = PaneId::Log);
    check("failed_120x40", samples::failed(), 120, 40, |_| {});
    check("training_110x32", samples::training(), 110, 32, |model| model.focus = PaneId::Confusion);
    check("paused_250x70", samples::paused(), 250, 70, |model| model.focus = PaneId::Settings);
}

#[test]
fn one_pane_at_a_time() {
    for pane in PaneId::ALL {
        check(&format!("{}_80x24", pane.name()), samples::paused(), 80, 24, |model| model.focus = pane);
    }
    check("advice_80x24", samples::overfitting(), 80, 24, |model| model.focus = PaneId::Log);
    check("advice_120x40", samples::overfitting(), 120, 40, |model| model.focus = PaneId::Log);
    check("zoomed_120x40", samples::training(), 120, 40, |model| model.view = View::Zoomed);
    check("too_small_59x17", samples::training(), 59, 17, |_| {});
}

#[test]
fn on_a_gpu() {
    check("gpu_120x40", samples::on_a_gpu(), 120, 40, |_| {});
    check("gpu_80x24", samples::on_a_gpu(), 80, 24, |_| {});
    check("gpu_60x18", samples::on_a_gpu(), 60, 18, |_| {});
    check("gpu_attached_160x40", samples::on_a_gpu(), 160, 40, |model| model.seat = Seat::Guest);
    check("gpu_taciturn_80x24", samples::on_a_taciturn_gpu(), 80, 24, |_| {});
    let mut plain = model(samples::on_a_gpu(), 120, 40);
    plain.theme = Theme::new(ColorDepth::None, Background::Dark, Glyphs::Ascii);
    plain.view = View::Zoomed;
    let text = draw(&plain);
    assert!(text.is_ascii());
    insta::assert_snapshot!("gpu_ascii_zoomed_120x40", text);
}

#[test]
fn a_search_in_its_frame() {
    check("search_120x40", samples::searching(), 120, 40, |_| {});
    check("search_80x24", samples::searching(), 80, 24, |_| {});
    check("search_60x18", samples::searching(), 60, 18, |_| {});
    check("search_help_80x24", samples::searching(), 80, 24, |model| {
        update(model, Message::Key(crossterm::event::KeyCode::Char('?').into()));
    });
    let mut plain = model(samples::searching(), 120, 40);
    plain.theme = Theme::new(ColorDepth::None, Background::Dark, Glyphs::Ascii);
    plain.view = View::Zoomed;
    let text = draw(&plain);
    assert!(text.is_ascii());
    insta::assert_snapshot!("search_ascii_zoomed_120x40", text);
}

#[test]
fn the_studio_in_its_frame() {
    let open = |keys: &'static str| {
        move |model: &mut Model| {
            for key in keys.chars() {
                update(model, Message::Key(crossterm::event::KeyCode::Char(key).into()));
            }
        }
    };
    check("studio_120x40", samples::paused(), 120, 40, open("alljl"));
    check("studio_80x24", samples::paused(), 80, 24, open("alljl"));
    check("studio_60x18", samples::paused(), 60, 18, open("alljl"));
    check("studio_help_80x24", samples::paused(), 80, 24, open("a?"));
    check("corruptions_80x24", samples::paused(), 80, 24, open("4c"));
    check("corruptions_60x18", samples::paused(), 60, 18, open("4cl"));
    check("corruptions_help_80x24", samples::paused(), 80, 24, open("4c?"));
}

#[test]
fn a_digit_is_drawn() {
    let draw_one = |model: &mut Model| script::draw_one(model);
    check("draw_120x40", samples::paused(), 120, 40, draw_one);
    check("draw_80x24", samples::paused(), 80, 24, draw_one);
    check("draw_60x18", samples::paused(), 60, 18, draw_one);
    let mut plain = model(samples::paused(), 80, 24);
    plain.theme = Theme::new(ColorDepth::None, Background::Dark, Glyphs::Ascii);
    script::draw_one(&mut plain);
    let text = draw(&plain);
    assert!(text.is_ascii());
    insta::assert_snapshot!("draw_ascii_80x24", text);
    plain.overlay = Some(Overlay::Help { top: 0 });
    insta::assert_snapshot!("draw_help_80x24", draw(&plain));
    // Whatever the size becomes in the middle of a stroke, it is drawn and goes on.
    for (width, height) in (1..=130).map(|width| (width, 1 + width * 7 % 45)) {
        let area = Rect::new(0, 0, width, height);
        update(&mut plain, Message::Resize(area.as_size()));
        script::touch(&mut plain, script::DOWN, width / 2, height / 2);
        script::touch(&mut plain, script::MOVE, width, height + 3);
        view(&plain, area, &mut Buffer::empty(area));
    }
}

#[test]
fn what_lies_over_the_panes() {
    check("help_80x24", samples::training(), 80, 24, |model| model.overlay = Some(Overlay::Help { top: 0 }));
    check("help_120x40", samples::training(), 120, 40, |model| model.overlay = Some(Overlay::Help { top: 4 }));
    let offer = Offer { name: "run-7".into(), summary: "epoch 4 of 10, step 3000, validation 98.73 %".into() };
    check("offer_80x24", LabState::default(), 80, 24, |model| model.overlay = Some(Overlay::Offer(offer)));
    check("unsaved_80x24", samples::training(), 80, 24, |model| {
        model.overlay = Some(Overlay::Unsaved("sessions/run-1.mlab: can't write: no space left on device".into()));
    });
}

#[test]
fn a_guest_and_the_tour() {
    check("guest_120x40", samples::training(), 120, 40, |model| model.seat = Seat::Guest);
    check("end_run_80x24", samples::training(), 80, 24, |model| model.overlay = Some(Overlay::EndRun));
    let tour = |stops: usize| {
        move |model: &mut Model| {
            let first = Tour::begin(&model.lab);
            model.tour = (0..stops).try_fold(first, |tour, _| tour.skip(&model.lab));
        }
    };
    check("tour_begins_120x40", samples::ready(), 120, 40, tour(0));
    check("tour_confusion_120x40", samples::training(), 120, 40, tour(3));
    check("tour_settings_80x24", samples::training(), 80, 24, tour(5));
    check("tour_ends_80x24", samples::training(), 80, 24, tour(9));
}

#[test]
fn ascii_is_ascii() {
    let mut model = model(samples::paused(), 120, 40);
    model.theme = Theme::new(ColorDepth::None, Background::Dark, Glyphs::Ascii);
    let text = draw(&model);
    assert!(text.is_ascii(), "{:?}", text.chars().find(|c| !c.is_ascii()));
    insta::assert_snapshot!("ascii_120x40", text);
}

#[test]
fn a_protocol_that_was_named_holds_without_unicode() {
    let mut model = model(samples::paused(), 120, 40);
    model.theme = Theme::new(ColorDepth::None, Background::Dark, Glyphs::Ascii);
    model.graphics = Graphics::new(Choice::Kitty, |_| None, None);
    let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 40));
    view(&model, buffer.area, &mut buffer);
    let image: Vec<&str> =
        buffer.content.iter().map(Cell::symbol).filter(|symbol| symbol.contains('\u{10EEEE}')).collect();
    assert!(image.first().is_some_and(|first| first.starts_with("\x1b_G")), "the image is sent: {image:?}");
    assert!(buffer.content.iter().all(|cell| cell.symbol().is_ascii() || image.contains(&cell.symbol())));
}

#[test]
fn without_colours_no_cell_has_one() {
    let mut model = model(samples::paused(), 120, 40);
    model.theme = Theme::new(ColorDepth::None, Background::Dark, Glyphs::Unicode);
    let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 40));
    for pane in PaneId::ALL {
        model.focus = pane;
        view(&model, buffer.area, &mut buffer);
        let colored = buffer.content.iter().position(|cell| {
            use ratatui::style::Color::Reset;
            cell.fg != Reset || cell.bg != Reset
        });
        assert_eq!(colored, None, "{pane:?}");
    }
}

/// Every size, theme, pane and overlay is drawn without a panic, also where the model was not yet told of the size.
#[test]
fn any_size_can_be_drawn() {
    let themes = [
        theme(),
        Theme::new(ColorDepth::Indexed, Background::Light, Glyphs::Unicode),
        Theme::new(ColorDepth::Sixteen, Background::Light, Glyphs::Ascii),
        Theme::new(ColorDepth::None, Background::Dark, Glyphs::Ascii),
    ];
    let overlays =
        [None, Some(Overlay::Help { top: 3 }), Some(Overlay::Failed("what failed, why, and what to do".into()))];
    let mut model = model(samples::paused(), 80, 24);
    let sizes = (1..=250).flat_map(|width| [(width, 1 + width * 7 % 70), (width, 1 + width * 31 % 70)]);
    for (number, (width, height)) in sizes.chain([(60, 18), (110, 32), (250, 70)]).enumerate() {
        model.size = Size::new(width, height);
        model.theme = themes[number % themes.len()].clone();
        model.focus = PaneId::ALL[number % PaneId::ALL.len()];
        model.overlay = overlays[number / 2 % overlays.len()].clone();
        model.tour = (number % 3 == 0).then(|| Tour::begin(&model.lab));
        model.view = if number % 5 == 0 { View::Zoomed } else { View::All };
        let area = Rect::new(0, 0, width, height);
        view(&model, area, &mut Buffer::empty(area));
        model.size = Size::new(250, 70);
        view(&model, area, &mut Buffer::empty(area));
    }
}
