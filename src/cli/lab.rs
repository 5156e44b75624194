//! `lab`: the dashboard, with what the arguments, the environment and the configuration say about it.

use std::env;
use std::io::IsTerminal;

use super::args::LabArgs;
use super::options::Options;
use crate::error::Error;
use crate::lab::{Autosave, Lab, Start};
use crate::session::{Entry, Store};
use crate::tui::graphics::Graphics;
use crate::tui::theme::{Background, ColorDepth, Glyphs, Theme};
use crate::tui::{self, Offer, TuiOptions};

/// Opens the dashboard.
///
/// # Errors
/// Without a terminal, if an argument is wrong, and what ends the dashboard.
pub async fn run(args: LabArgs, options: &Options) -> Result<(), Error> {
    if !std::io::stdout().is_terminal() {
        return Err(Error::Usage(
            "the lab needs a terminal on standard output: `mnist-lab train` trains without one".into(),
        ));
    }
    let config = &options.config;
    let theme = theme(args.theme.or(config.theme.clone()).as_deref(), args.graphics.or(config.graphics.clone()).as_deref())?;
    let (start, offer) = match args.load {
        Some(name) => (Start::Session(name), None),
        None => (options.fresh(&args.run)?, newest(&options.store)),
    };
    let (lab, _thread) = Lab::start(options.lab(start, Autosave::On))?;
    tui::run(lab, TuiOptions { offer, theme, graphics: Graphics::default() }).await
}

fn theme(background: Option<&str>, graphics: Option<&str>) -> Result<Theme, Error> {
    let variable = |name: &str| env::var(name).ok();
    let background = match background {
        None => Background::detect(variable),
        Some("dark") => Background::Dark,
        Some("light") => Background::Light,
        Some(other) => return Err(Error::Usage(format!("`{other}` is no theme: use dark or light"))),
    };
    let glyphs = if graphics == Some("ascii") { Glyphs::Ascii } else { Glyphs::detect(variable) };
    Ok(Theme::new(ColorDepth::detect(variable), background, glyphs))
}

/// The session that was written last, if it can be read.
fn newest(store: &Store) -> Option<Offer> {
    let Entry { name, .. } = store.list().ok()?.into_iter().next()?;
    let run = store.load(&name).ok()?.run;
    let mut summary = format!("epoch {} of {}, step {}", run.progress.epoch, run.settings.epochs, run.progress.step);
    if let Some(measured) = run.history.epochs.last().and_then(|epoch| epoch.validation) {
        summary += &format!(", validation {:.2} %", measured.accuracy * 100.0);
    }
    Some(Offer { name, summary })
}
