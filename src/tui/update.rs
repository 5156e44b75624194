//! What each message does to the model, and what it makes the outside do. Nothing here waits, draws or reads a clock.

mod mouse;

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind};

use super::Seat;
use super::keymap::{self, Action};
use super::layout::Screen;
use super::message::{Effect, Message, Origin};
use super::model::{Leaving, Model, Notice, Overlay, Tone, View, Waiting};
use super::panes::PaneId;
use super::tour::Tour;
use super::view::{frame, help};
use crate::command::{Command, ListName};
use crate::error::Error;
use crate::reply::Reply;
use crate::state::{LabState, Phase};

/// Seconds that the lab has to save before a person is asked whether to leave nevertheless.
const PATIENCE: u8 = 15;
/// Seconds that a notice stays.
const NOTICE_SECONDS: u8 = 5;
/// What the shell is told of a run that was not waited for.
const LEFT_EARLY: &str = "left while the run was still being saved: the session may be as it was saved before";

/// When the screen is to be drawn after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Draw {
    /// Nothing changed that can be seen.
    No,
    /// With the next frame of a run that goes on.
    Progress,
    /// With the next frame.
    Soon,
    /// At once: a person waits for it.
    Now,
}

/// Takes in one message.
pub fn update(model: &mut Model, message: Message) -> (Vec<Effect>, Draw) {
    let (mut effects, draw) = take(model, message);
    place(model);
    effects.extend(questions(model));
    let asked =
        effects.iter().filter(|effect| matches!(effect, Effect::Ask(_, Origin::Key | Origin::Gallery | Origin::Offer)));
    model.waiting.answers += asked.count() as u32;
    model.tour = model.tour.as_ref().and_then(|tour| tour.after(model, &effects));
    (effects, draw)
}

/// Tells the command line how much room it has, which says how far it can be scrolled.
fn place(model: &mut Model) {
    let Screen::Parts(parts) = model.screen() else { return };
    if let Some((_, area)) = parts.panes.iter().find(|(pane, _)| *pane == PaneId::CommandLine) {
        model.panes.command_line.place(frame::inside(*area));
    }
}

/// What a pane that is seen wants to know of the network.
fn questions(model: &mut Model) -> Option<Effect> {
    let Screen::Parts(parts) = model.screen() else { return None };
    parts.panes.iter().find(|(pane, _)| *pane == PaneId::Digits)?;
    model.panes.digits.question(&model.lab)
}

fn take(model: &mut Model, message: Message) -> (Vec<Effect>, Draw) {
    match message {
        Message::Key(key) if key.kind == KeyEventKind::Release => (Vec::new(), Draw::No),
        Message::Key(pressed) => (key(model, pressed), Draw::Now),
        Message::Mouse(event) => mouse::mouse(model, event),
        Message::Paste(text) => {
            if model.overlay.is_none() {
                model.panes.get_mut(model.focus).paste(&text);
            }
            (Vec::new(), Draw::Now)
        }
        Message::Resize(size) => {
            model.size = size;
            (Vec::new(), Draw::Now)
        }
        Message::State(lab) => (state(model, &lab), Draw::Progress),
        Message::Answer { origin, result } => (answer(model, origin, result), Draw::Soon),
        Message::Sessions(names) => {
            model.panes.command_line.set_sessions(names);
            (Vec::new(), Draw::No)
        }
        Message::Tick => tick(model),
        Message::Terminate => (terminate(model), Draw::Soon),
        Message::Continued => (vec![Effect::Retake], Draw::Now),
    }
}

fn key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    if let Some(action) = keymap::always(key) {
        return act(model, action);
    }
    if model.overlay.is_some() {
        return overlay_key(model, key);
    }
    let lab = model.lab.clone();
    if let Some(effects) = model.panes.get_mut(model.focus).key(key, &lab) {
        return settle(model, effects);
    }
    let mode = model.panes.get(model.focus).mode(&lab).and_then(|scope| keymap::look_up(key, scope));
    mode.or_else(|| keymap::action(key, model.focus)).map_or_else(Vec::new, |action| act(model, action))
}

/// Does what a key stands for.
fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    match action {
        Action::Interrupt => return interrupt(model),
        Action::Suspend => return vec![Effect::Suspend],
        Action::Redraw => return vec![Effect::Redraw],
        Action::Quit => return quit(model),
        Action::NextStop => model.tour = model.tour.as_ref().and_then(|tour| tour.skip(&model.lab)),
        Action::Help => model.overlay = Some(Overlay::Help { top: 0 }),
        Action::Command => focus(model, PaneId::CommandLine),
        Action::Find => prompt(model, "find ".into()),
        Action::NextPane => focus(model, neighbour(model.focus, 1)),
        Action::PreviousPane => focus(model, neighbour(model.focus, PaneId::ALL.len() - 1)),
        Action::Pane(pane) => focus(model, pane),
        Action::Zoom => model.view = if model.view == View::All { View::Zoomed } else { View::All },
        Action::PauseResume => return pause_or_resume(&model.lab),
        Action::Step => return Effect::ask(Command::Step { batches: 1 }),
        Action::Train => return Effect::ask(Command::Train { epochs: None }),
        Action::Save => return Effect::ask(Command::Save { name: None }),
        Action::NextWrong => return errors(model, Command::Next { list: Some(ListName::Wrong) }),
        Action::PreviousWrong => return errors(model, Command::Prev { list: Some(ListName::Wrong) }),
        Action::Search => {
            focus(model, PaneId::Charts);
            return to_pane(model, action).unwrap_or_default();
        }
        Action::Augment | Action::Draw => {
            focus(model, PaneId::Digits);
            return to_pane(model, action).unwrap_or_default();
        }
        _ => match to_pane(model, action) {
            Some(effects) => return effects,
            None if action == Action::Escape => out(model),
            None => {}
        },
    }
    Vec::new()
}

fn to_pane(model: &mut Model, action: Action) -> Option<Vec<Effect>> {
    let lab = model.lab.clone();
    let effects = model.panes.get_mut(model.focus).handle(action, &lab)?;
    Some(settle(model, effects))
}

/// Does what effects mean for the screen itself, and gives back those that concern the outside.
fn settle(model: &mut Model, effects: Vec<Effect>) -> Vec<Effect> {
    let mut outside = Vec::new();
    for effect in effects {
        match effect {
            Effect::Prompt(line) => prompt(model, line),
            Effect::Run(line) => {
                focus(model, PaneId::CommandLine);
                outside.extend(model.panes.command_line.run(&line));
            }
            Effect::Focus(pane) => focus(model, pane),
            Effect::Tour => {
                // Its keys are none where text is typed.
                model.focus = model.previous;
                model.tour = Some(Tour::begin(&model.lab));
            }
            Effect::Help => model.overlay = Some(Overlay::Help { top: 0 }),
            // Typed in full: a guest means the run.
            Effect::Quit if model.seat == Seat::Guest => model.overlay = Some(Overlay::EndRun),
            Effect::Quit => outside.extend(quit(model)),
            // The lab does not see the paper: what is on it goes along.
            Effect::Ask(Command::Draw { keep, name, .. }, origin) => {
                let image = Some(Box::new(*model.panes.digits.drawn()));
                outside.push(Effect::Ask(Command::Draw { keep, name, image }, origin));
            }
            effect => outside.push(effect),
        }
    }
    outside
}

fn focus(model: &mut Model, pane: PaneId) {
    if model.focus != PaneId::CommandLine {
        model.previous = model.focus;
    }
    model.focus = pane;
}

fn neighbour(pane: PaneId, steps: usize) -> PaneId {
    let at = PaneId::ALL.iter().position(|id| *id == pane).unwrap_or(0);
    PaneId::ALL[(at + steps) % PaneId::ALL.len()]
}

fn prompt(model: &mut Model, line: String) {
    focus(model, PaneId::CommandLine);
    model.panes.command_line.prompt(line);
}

/// Escape, when the pane had no layer to leave.
fn out(model: &mut Model) {
    if model.focus == PaneId::CommandLine {
        model.focus = model.previous;
    } else if model.view == View::Zoomed {
        model.view = View::All;
    } else {
        model.tour = None;
    }
    model.notice = None;
}

fn pause_or_resume(lab: &LabState) -> Vec<Effect> {
    match lab.phase {
        Phase::Training => Effect::ask(Command::Pause),
        Phase::Paused => Effect::ask(Command::Resume),
        Phase::Ready | Phase::Finished(_) => Effect::ask(Command::Train { epochs: None }),
        Phase::Loading | Phase::Failed(_) | Phase::Closed => Vec::new(),
    }
}

fn errors(model: &mut Model, command: Command) -> Vec<Effect> {
    focus(model, PaneId::Digits);
    Effect::ask(command)
}

/// Ctrl-C: what is typed into the command line first, then the screen, then at once.
fn interrupt(model: &mut Model) -> Vec<Effect> {
    if model.leaving != Leaving::No {
        return leave_at_once(model);
    }
    let typing = model.focus == PaneId::CommandLine && model.overlay.is_none();
    if typing && model.panes.command_line.clear() {
        let leaves = if model.seat == Seat::Guest { "detaches" } else { "saves and leaves" };
        notify(model, Tone::Good, format!("cleared; Ctrl-C again {leaves}"));
        return Vec::new();
    }
    quit(model)
}

/// Leaves; a lab of one's own is asked to save and end first.
fn quit(model: &mut Model) -> Vec<Effect> {
    if model.seat == Seat::Guest || model.lab.phase == Phase::Closed {
        return vec![Effect::Leave];
    }
    end(model)
}

/// Asks the lab to save and end.
fn end(model: &mut Model) -> Vec<Effect> {
    match model.leaving {
        Leaving::No => {
            model.leaving = Leaving::Saving(0);
            ask_to_end(model)
        }
        _ => Vec::new(),
    }
}

fn ask_to_end(model: &mut Model) -> Vec<Effect> {
    model.unsaved = None;
    vec![Effect::Ask(Command::Quit, Origin::Quit)]
}

fn terminate(model: &mut Model) -> Vec<Effect> {
    let asked = model.leaving != Leaving::No;
    let again = matches!(model.leaving, Leaving::Terminated(_));
    model.leaving = Leaving::Terminated(0);
    let nothing_to_save = model.seat == Seat::Guest || model.lab.phase == Phase::Closed;
    match (again || nothing_to_save, asked) {
        (true, _) => leave_at_once(model),
        (false, true) => Vec::new(),
        (false, false) => ask_to_end(model),
    }
}

fn overlay_key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let action = keymap::action(key, PaneId::Log);
    match (model.overlay.take(), key.code) {
        (Some(Overlay::Help { top }), _) => model.overlay = help_key(model, top, action),
        (Some(Overlay::Offer(offer)), KeyCode::Enter) => {
            return vec![Effect::Ask(Command::Load { name: offer.name }, Origin::Offer)];
        }
        (Some(Overlay::EndRun), KeyCode::Enter) => return end(model),
        (Some(Overlay::Offer(_) | Overlay::Failed(_) | Overlay::EndRun), KeyCode::Esc) => {}
        (Some(Overlay::Unsaved(_)), KeyCode::Esc) => model.unsaved = None,
        (Some(Overlay::Unsaved(sentence)), KeyCode::Enter) => {
            model.unsaved = Some(sentence);
            return vec![Effect::Leave];
        }
        (Some(Overlay::Saving), KeyCode::Esc) => wait_on(model),
        (Some(Overlay::Saving), KeyCode::Enter) => return leave_early(model),
        (Some(Overlay::Failed(_)), _) if action == Some(Action::Command) => focus(model, PaneId::CommandLine),
        (overlay, _) if action == Some(Action::Quit) => {
            model.overlay = overlay;
            return quit(model);
        }
        (overlay, _) => model.overlay = overlay,
    }
    Vec::new()
}

fn help_key(model: &Model, top: usize, action: Option<Action>) -> Option<Overlay> {
    let (lines, page) = help::extent(model);
    let last = lines.saturating_sub(page);
    let top = match action? {
        Action::Escape | Action::Help | Action::Quit | Action::Enter => return None,
        Action::Up => top.saturating_sub(1),
        Action::Down => top + 1,
        Action::PageUp => top.saturating_sub(page),
        Action::PageDown | Action::PauseResume => top + page,
        Action::Top => 0,
        Action::Bottom => last,
        _ => top,
    };
    Some(Overlay::Help { top: top.min(last) })
}

fn state(model: &mut Model, lab: &Arc<LabState>) -> Vec<Effect> {
    if let Phase::Failed(failure) = &lab.phase
        && lab.phase != model.lab.phase
    {
        model.overlay = Some(Overlay::Failed(failure.sentence.clone()));
    }
    model.lab = lab.clone();
    for id in PaneId::ALL {
        model.panes.get_mut(id).changed(lab);
    }
    if lab.phase == Phase::Closed { vec![Effect::Leave] } else { Vec::new() }
}

fn answer(model: &mut Model, origin: Origin, result: Result<Reply, Error>) -> Vec<Effect> {
    if origin == Origin::Gallery {
        if result.is_err() {
            model.panes.digits.refuse_gallery();
        }
        return answer(model, Origin::Key, result);
    }
    if matches!(origin, Origin::Key | Origin::Offer) {
        model.waiting = Waiting { answers: model.waiting.answers.saturating_sub(1), seconds: 0 };
    }
    match (origin, result) {
        (Origin::CommandLine(number), result) => model.panes.command_line.answer(number, &result),
        (Origin::Setting(setting), result) => model.panes.settings.answer(setting, &result),
        (Origin::Corruptions, result) => model.panes.digits.answer_corruptions(result),
        (Origin::Drawing, result) => model.panes.digits.answer_drawing(result),
        (Origin::Quit, Err(error)) => return not_saved(model, error.to_string()),
        (Origin::Key | Origin::Offer, Err(error)) => notify(model, Tone::Bad, error.to_string()),
        (Origin::Key, Ok(reply @ (Reply::Saved { .. } | Reply::Done(_) | Reply::Rewound { .. }))) => {
            notify(model, Tone::Good, reply.to_string());
        }
        _ => {}
    }
    Vec::new()
}

/// The lab could not save.
fn not_saved(model: &mut Model, sentence: String) -> Vec<Effect> {
    model.unsaved = Some(sentence.clone());
    if matches!(model.leaving, Leaving::Terminated(_)) {
        return vec![Effect::Leave];
    }
    model.leaving = Leaving::No;
    model.overlay = Some(Overlay::Unsaved(sentence));
    Vec::new()
}

/// The lab takes long to save.
fn out_of_patience(model: &mut Model) -> Vec<Effect> {
    if !model.lab.is_unsaved() {
        return vec![Effect::Leave];
    }
    // The system doesn't wait for an answer.
    if matches!(model.leaving, Leaving::Terminated(_)) {
        return leave_early(model);
    }
    model.overlay = Some(Overlay::Saving);
    Vec::new()
}

fn wait_on(model: &mut Model) {
    if let Leaving::Saving(seconds) = &mut model.leaving {
        *seconds = 0;
    }
}

/// Leaves without a question, but not without a word if a run of one's own is not saved.
fn leave_at_once(model: &mut Model) -> Vec<Effect> {
    if model.seat == Seat::Host && model.lab.is_unsaved() { leave_early(model) } else { vec![Effect::Leave] }
}

fn leave_early(model: &mut Model) -> Vec<Effect> {
    model.unsaved = Some(LEFT_EARLY.into());
    vec![Effect::Leave]
}

fn notify(model: &mut Model, tone: Tone, text: String) {
    model.notice = Some(Notice { text, tone, seconds: NOTICE_SECONDS });
}

fn tick(model: &mut Model) -> (Vec<Effect>, Draw) {
    if let Leaving::Saving(seconds) | Leaving::Terminated(seconds) = &mut model.leaving {
        *seconds = seconds.saturating_add(1);
        if *seconds == PATIENCE {
            return (out_of_patience(model), Draw::Soon);
        }
    }
    let mut draw = Draw::No;
    if model.waiting.answers > 0 {
        model.waiting.seconds = model.waiting.seconds.saturating_add(1);
        draw = Draw::Soon;
    }
    if let Some(notice) = &mut model.notice {
        notice.seconds = notice.seconds.saturating_sub(1);
        if notice.seconds == 0 {
            model.notice = None;
            draw = Draw::Soon;
        }
    }
    (Vec::new(), draw)
}
