//! `lab`: the dashboard, with what the arguments, the environment and the configuration say about it.

use std::env;
use std::io::IsTerminal;

use clap::ValueEnum;

use super::args::{LabArgs, RunArgs, ScreenArgs};
use super::options::Options;
use super::serve::porter;
use crate::error::Error;
use crate::lab::{Autosave, Lab, Start};
use crate::session::Store;
use crate::tui::graphics::choice::Choice;
use crate::tui::graphics::{Graphics, probe};
use crate::tui::theme::{Background, ColorDepth, Glyphs, Theme};
use crate::tui::{self, DEFAULT_FPS, Offer, Opening, Seat, TuiOptions};

/// Opens the dashboard.
///
/// # Errors
/// Without a terminal, if an argument is wrong, and what ends the dashboard.
pub async fn run(args: LabArgs, options: &Options) -> Result<(), Error> {
    if args.load.is_some() && args.run != RunArgs::default() {
        let refused = "--load opens a session with its own layers, settings and teacher: leave out the flags that are for a fresh \
                       run, and change a setting with `set` in the lab";
        return Err(Error::Usage(refused.into()));
    }
    check_terminal()?;
    let screen = Screen::of(&args.screen, options)?;
    let (start, offer) = match args.load {
        Some(name) => (Start::Session(name), None),
        // Somebody who is shown around begins afresh.
        None if args.tour => (options.fresh(&args.run)?, None),
        None => (options.fresh(&args.run)?, newest(&options.store)),
    };
    let (lab, _thread) = Lab::start(options.lab(start, Autosave::On))?;
    let opening = if args.tour { Opening::Tour } else { Opening::Lab };
    let shown = TuiOptions { offer, opening, ..screen.shown(options.store.clone(), Seat::Host) };
    tui::run(lab.with_porter(porter()), shown).await
}

/// Refuses to draw where nobody would see it.
pub(super) fn check_terminal() -> Result<(), Error> {
    let missing = if !std::io::stdout().is_terminal() {
        "the lab needs a terminal on standard output: `mnist-lab train` trains without one"
    } else if is_dumb() {
        "this terminal (TERM=dumb) only writes line after line: `mnist-lab repl` takes the lab's commands there, and `mnist-lab \
         train` trains; if it can do more, start with TERM=xterm"
    } else {
        return Ok(());
    };
    Err(Error::Usage(missing.into()))
}

/// Whether the terminal says of itself that its cursor can't be moved, as a shell inside of an editor does.
pub(super) fn is_dumb() -> bool {
    env::var("TERM").is_ok_and(|kind| kind == "dumb")
}

/// How the dashboard is to be drawn: flags, then the configuration, then what the terminal is known to have.
pub(super) struct Screen {
    theme: Theme,
    choice: Choice,
    /// Frames a second at most.
    pub fps: u8,
}

impl Screen {
    /// Brings them together.
    ///
    /// # Errors
    /// If one of them is nothing that can be drawn.
    pub fn of(args: &ScreenArgs, options: &Options) -> Result<Self, Error> {
        let config = &options.config;
        let choice = choice(args.graphics.as_deref().or(config.graphics.as_deref()))?;
        let theme = theme(args.theme.as_deref().or(config.theme.as_deref()), choice)?;
        let fps = args.fps.or(config.fps).unwrap_or(DEFAULT_FPS);
        if !(1..=60).contains(&fps) {
            return Err(Error::Usage(format!("fps {fps} in the configuration: use 1 to 60 frames a second")));
        }
        Ok(Self { theme, choice, fps })
    }

    /// What the dashboard is told, once nothing can be refused any more: asking the terminal takes a moment.
    pub fn shown(self, store: Store, seat: Seat) -> TuiOptions {
        let graphics = Graphics::new(self.choice, variable, Graphics::cell_size()).proven(probe::version);
        TuiOptions { store, offer: None, theme: self.theme, graphics, fps: self.fps, seat, opening: Opening::Lab }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// The way to draw images that `text` names.
pub(super) fn choice(text: Option<&str>) -> Result<Choice, Error> {
    let Some(text) = text else { return Ok(Choice::Auto) };
    let refused = |_| {
        let names = Choice::value_variants()
            .iter()
            .filter_map(|choice| Some(choice.to_possible_value()?.get_name().to_owned()));
        Error::Usage(format!("`{text}` is no way to draw images: use {}", names.collect::<Vec<_>>().join(", ")))
    };
    Choice::from_str(text, true).map_err(refused)
}

fn theme(background: Option<&str>, choice: Choice) -> Result<Theme, Error> {
    let background = match background {
        None => Background::detect(variable),
        Some("dark") => Background::Dark,
        Some("light") => Background::Light,
        Some(other) => return Err(Error::Usage(format!("`{other}` is no theme: use dark or light"))),
    };
    let glyphs = if choice == Choice::Ascii { Glyphs::Ascii } else { Glyphs::detect(variable) };
    Ok(Theme::new(ColorDepth::detect(variable), background, glyphs))
}

/// The session that was written last, if it can be read.
fn newest(store: &Store) -> Option<Offer> {
    let name = store.list().ok()?.into_iter().next()?.name;
    let run = store.load(&name).ok()?.run;
    let measured = run.history.epochs.last().and_then(|epoch| epoch.validation);
    let validation = measured.map_or_else(String::new, |m| format!(", validation {:.2} %", m.accuracy * 100.0));
    let (progress, epochs) = (run.progress, run.settings.epochs);
    let summary = format!("epoch {} of {epochs}, step {}{validation}", progress.epoch, progress.step);
    Some(Offer { name, summary })
}
