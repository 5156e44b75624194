//! The dashboard: a terminal screen that shows the lab's state and sends it commands.
//!
//! One loop takes one [`Message`] after the other, [`update`](update::update) changes the model, and when something changed
//! that can be seen [`view`](view::view) draws it: at once for a key, soon for an answer, a few times a second for a run, and
//! never before the terminal has taken the last frame. The loop waits for no terminal: one that nobody reads holds nothing up, but
//! for the seconds that it has to take the last words.

mod format;
pub mod graphics;
mod input;
pub mod keymap;
mod layout;
pub mod message;
mod model;
pub mod panes;
#[cfg(test)]
mod samples;
mod terminal;
pub mod theme;
mod tour;
mod update;
mod view;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

use crate::error::Error;
use crate::lab::Lab;
use crate::session::Store;
use crate::state::{LabState, Phase};
use graphics::Graphics;
use input::Input;
use message::{Effect, Message};
use model::{Leaving, Model};
use terminal::{Signals, Terminal};
use theme::Theme;
use tour::Tour;
use update::{Draw, update};

/// Shortest time between two frames that a person did not ask for: thirty a second for answers.
const FRAME: Duration = Duration::from_millis(33);
/// Frames a second for what the run does by itself: eight are lively, and a slow line carries them.
pub const DEFAULT_FPS: u8 = 8;
/// A frame is followed by a pause of so many times what it took to draw and to write, unless a person waits for the next.
const SLOW: u32 = 2;

/// What the screen needs to know besides the lab.
pub struct TuiOptions {
    /// Where sessions are kept, for the completion of their names.
    pub store: Store,
    /// The session that can be resumed, if there is one.
    pub offer: Option<Offer>,
    /// How it is to look.
    pub theme: Theme,
    /// How images reach the terminal.
    pub graphics: Graphics,
    /// Frames a second at most for what the run does by itself; at least one.
    pub fps: u8,
    /// Whose lab it is.
    pub seat: Seat,
    /// Whether it begins with the tour.
    pub opening: Opening,
}

/// How a screen begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// At once.
    #[default]
    Lab,
    /// With a walk through a first run.
    Tour,
}

/// Whose lab a screen shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seat {
    /// Its own: to leave is to save and end it.
    #[default]
    Host,
    /// One that another process holds: to leave is to look away.
    Guest,
}

/// A session that can be resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// What it holds, in a few words.
    pub summary: String,
}

/// Shows the lab until it is left. The lab then has saved its run.
///
/// # Errors
/// [`Error::Interrupted`] if a signal or a lost terminal ended it, [`Error::Failed`] if the terminal can't be used or the
/// lab ended by itself.
pub async fn run(lab: Lab, options: TuiOptions) -> Result<(), Error> {
    let mut terminal = Terminal::enter().map_err(|error| terminal_error(&error))?;
    let size = terminal::size().map_err(|error| terminal_error(&error))?;
    let mut model = Model::new(options.theme, options.graphics, size, options.offer);
    model.seat = options.seat;
    model.tour = (options.opening == Opening::Tour).then(|| Tour::begin(&model.lab));
    let progress = Duration::from_secs(1) / u32::from(options.fps.max(1));
    let outcome = match Dashboard::new(lab, model, options.store, progress) {
        Ok(mut dashboard) => {
            let outcome = dashboard.run(&mut terminal).await;
            terminal.write(&dashboard.model.graphics.farewell());
            outcome
        }
        Err(error) => Err(error),
    };
    terminal.leave();
    // What another thread panicked with was kept off the screen; now it can be told, even to a person who left all the same.
    match (outcome, terminal.panic_elsewhere()) {
        (Ok(()) | Err(Error::Failed(_)), Some(panic)) => Err(Error::Failed(panic)),
        (outcome, _) => outcome,
    }
}

fn terminal_error(error: &std::io::Error) -> Error {
    Error::Failed(format!("the terminal can't be used: {error}"))
}

/// The loop and all that it waits for.
struct Dashboard {
    lab: Lab,
    model: Model,
    store: Store,
    input: Input,
    signals: Signals,
    states: watch::Receiver<Arc<LabState>>,
    answers: JoinSet<Message>,
    ticks: Interval,
    /// The terminal is gone: nobody sees or types anything any more.
    lost: bool,
    /// It is known that the lab published a state that the model has not seen: nobody need wait for it any more.
    published: bool,
    /// How urgently a frame is wanted.
    wanted: Draw,
    /// Shortest time between two frames for what the run does by itself.
    progress: Duration,
}

/// What the loop woke up for.
enum Wake {
    Message(Message),
    /// The lab published a state: the next frame shows it.
    Published,
    Frame,
    /// The terminal is gone.
    Lost,
    /// The lab is gone.
    Ended,
}

impl Dashboard {
    fn new(lab: Lab, model: Model, store: Store, progress: Duration) -> Result<Self, Error> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut states = lab.state();
        states.mark_changed();
        Ok(Self {
            states,
            lab,
            model,
            store,
            input: Input::begin().map_err(|error| terminal_error(&error))?,
            signals: Signals::new()?,
            answers: JoinSet::new(),
            ticks,
            lost: false,
            published: false,
            wanted: Draw::No,
            progress,
        })
    }

    async fn run(&mut self, terminal: &mut Terminal) -> Result<(), Error> {
        // The first frame comes before anything is loaded.
        self.lost = terminal.draw(&self.model).is_err();
        loop {
            let message = match self.wake(terminal).await {
                // A lost line says so in several ways at once; only a person who waits can be impatient.
                Wake::Message(Message::Terminate) if self.lost && self.is_terminated() => continue,
                Wake::Message(message) => message,
                Wake::Lost => match self.lose() {
                    Some(message) => message,
                    None => continue,
                },
                // The word that the run is saved does not wait for a frame, which may never come.
                Wake::Published if self.is_leaving() => Message::State(self.newest()),
                Wake::Published => {
                    self.published = true;
                    self.plan(Draw::Progress);
                    continue;
                }
                Wake::Frame => {
                    if let Some(leave) = self.next_frame(terminal) {
                        return leave;
                    }
                    continue;
                }
                Wake::Ended => return self.ended(),
            };
            if let Some(leave) = self.take(message, terminal) {
                return leave;
            }
        }
    }

    /// Waits for whatever comes first; what a person did goes before what the lab did.
    async fn wake(&mut self, terminal: &Terminal) -> Wake {
        let (wanted, progress) = (self.wanted, self.progress);
        let is_listening = !self.published || self.is_leaving();
        tokio::select! {
            biased;
            message = self.signals.next() => message.map_or(Wake::Lost, Wake::Message),
            message = self.input.next(), if !self.lost => message.map_or(Wake::Lost, Wake::Message),
            Some(Ok(message)) = self.answers.join_next() => Wake::Message(message),
            () = due(terminal, wanted, progress), if wanted != Draw::No => Wake::Frame,
            _ = self.ticks.tick() => Wake::Message(Message::Tick),
            changed = self.states.changed(), if is_listening => {
                if changed.is_ok() { Wake::Published } else { Wake::Ended }
            }
        }
    }

    /// Takes in a message and does what follows from it; the outcome if the screen is left.
    fn take(&mut self, message: Message, terminal: &mut Terminal) -> Option<Result<(), Error>> {
        if let Message::Resize(_) = message {
            self.model.graphics.resize(Graphics::cell_size());
        }
        let (effects, draw) = update(&mut self.model, message);
        self.plan(draw);
        for effect in effects {
            match effect {
                Effect::Ask(command, origin) => {
                    // Sent at once: its answer alone is waited for.
                    let answer = self.lab.send(command);
                    self.answers.spawn(async move {
                        let result = answer.await.unwrap_or_else(|_| Err(lab_has_ended()));
                        Message::Answer { origin, result }
                    });
                }
                // Reading a folder may take a while on a slow disk, and is nothing that training should wait for.
                Effect::ListSessions => {
                    let store = self.store.clone();
                    let names = move || store.list().unwrap_or_default().into_iter().map(|entry| entry.name).collect();
                    self.answers.spawn_blocking(move || Message::Sessions(names()));
                }
                Effect::Leave => return Some(self.left()),
                Effect::Redraw => {
                    self.model.graphics.forget();
                    terminal.forget();
                }
                Effect::Suspend | Effect::Retake if self.lost => {}
                Effect::Suspend | Effect::Retake => {
                    self.model.graphics.forget();
                    let outcome = if effect == Effect::Suspend { terminal.suspend() } else { terminal.retake() };
                    // With SIGHUP comes a SIGCONT: the terminal that can't be taken back is one that is lost.
                    if outcome.is_err()
                        && let Some(message) = self.lose()
                    {
                        return self.take(message, terminal);
                    }
                    self.plan(Draw::Now);
                }
                // The model itself does what these mean.
                Effect::Prompt(_) | Effect::Run(_) | Effect::Focus(_) | Effect::Help | Effect::Tour | Effect::Quit => {}
            }
        }
        None
    }

    /// Shows the newest state.
    fn next_frame(&mut self, terminal: &mut Terminal) -> Option<Result<(), Error>> {
        let lab = self.newest();
        if !Arc::ptr_eq(&lab, &self.model.lab)
            && let Some(leave) = self.take(Message::State(lab), terminal)
        {
            return Some(leave);
        }
        self.wanted = Draw::No;
        if !self.lost && terminal.draw(&self.model).is_err() {
            return self.lose().and_then(|message| self.take(message, terminal));
        }
        None
    }

    /// The newest state, which is thereby seen.
    fn newest(&mut self) -> Arc<LabState> {
        self.published = false;
        self.states.borrow_and_update().clone()
    }

    /// Goes on without a terminal until the run is saved; what the model is to be told.
    fn lose(&mut self) -> Option<Message> {
        self.lost = true;
        (!self.is_terminated()).then_some(Message::Terminate)
    }

    fn is_leaving(&self) -> bool {
        self.model.leaving != Leaving::No
    }

    fn is_terminated(&self) -> bool {
        matches!(self.model.leaving, Leaving::Terminated(_))
    }

    /// Makes sure that a frame is drawn in time.
    fn plan(&mut self, draw: Draw) {
        self.wanted = self.wanted.max(draw);
    }

    fn left(&self) -> Result<(), Error> {
        match (&self.model.unsaved, &self.model.lab.phase) {
            // What was shown on the screen is gone with it: the shell is told too.
            (Some(sentence), _) => Err(Error::Failed(sentence.clone())),
            (None, Phase::Failed(failure)) => Err(Error::Lab(failure.clone())),
            _ if self.is_terminated() => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }

    fn ended(&self) -> Result<(), Error> {
        if self.is_leaving() { self.left() } else { Err(lab_has_ended()) }
    }
}

/// Waits until a frame that is `wanted` so urgently is to be drawn: when the last one is written, and after a pause.
async fn due(terminal: &Terminal, wanted: Draw, progress: Duration) {
    let (written, took) = terminal.idle().await;
    let pause = match wanted {
        Draw::No | Draw::Now => return,
        Draw::Soon => FRAME,
        Draw::Progress => progress,
    };
    sleep_until((written + pause.max(took * SLOW)).into()).await;
}

fn lab_has_ended() -> Error {
    Error::Failed("the lab has ended".into())
}

#[cfg(test)]
mod tests;
