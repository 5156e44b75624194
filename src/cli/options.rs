//! Flags, environment, configuration file and defaults brought together, in this order.

use std::fs::File;
use std::path::PathBuf;

use etcetera::BaseStrategy;
use tracing::level_filters::LevelFilter;

use super::args::{Global, RunArgs};
use super::config::Config;
use crate::arch::Arch;
use crate::error::Error;
use crate::export;
use crate::gpu;
use crate::lab::{Autosave, LabOptions, Start};
use crate::nn::{DeviceChoice, Kernels};
use crate::session::Store;
use crate::train::RunConfig;
use crate::train::recipe::Recipe;
use crate::train::settings::{Setting, Settings};

/// What a run validates on if nobody says otherwise: the tutorial's.
pub const VALIDATION_SPLIT: f64 = 0.2;

/// The options that all commands share.
#[derive(Clone, Debug)]
pub struct Options {
    global: Global,
    /// The configuration file.
    pub config: Config,
    /// Where sessions are kept.
    pub store: Store,
    device: DeviceChoice,
}

impl Options {
    /// Brings them together.
    ///
    /// # Errors
    /// If the configuration file is wrong.
    pub fn gather(global: Global) -> Result<Self, Error> {
        let config = Config::read(global.config.as_deref())?;
        let device = match (global.device, &config.device) {
            (Some(choice), _) => choice,
            (None, Some(text)) => text
                .parse::<DeviceChoice>()
                .map_err(|problem| Error::Usage(format!("device in the configuration: {problem}")))?,
            (None, None) => DeviceChoice::Auto,
        };
        let folder = global.sessions.clone().or_else(|| config.sessions.clone()).unwrap_or_else(default_sessions);
        Ok(Self { global, config, store: Store::new(folder), device })
    }

    /// The folder of the data, if not the MNIST inside the binary.
    pub fn data(&self) -> Option<PathBuf> {
        self.global.data.clone().or_else(|| self.config.data.clone())
    }

    /// Names every random draw.
    pub fn seed(&self) -> u64 {
        self.global.seed.or(self.config.seed).unwrap_or(0)
    }

    /// Whether a flag names the random draws.
    pub fn seed_is_given(&self) -> bool {
        self.global.seed.is_some()
    }

    /// Where to compute.
    pub const fn device(&self) -> DeviceChoice {
        self.device
    }

    /// How to compute.
    pub fn kernels(&self) -> Kernels {
        self.global.kernels.unwrap_or_default()
    }

    /// Threads that compute.
    pub fn threads(&self) -> Option<usize> {
        self.global.threads.or(self.config.threads).map(usize::from)
    }

    /// A lab that begins with `start`.
    pub fn lab(&self, start: Start, autosave: Autosave) -> LabOptions {
        LabOptions {
            data: self.data(),
            store: self.store.clone(),
            device: self.device,
            kernels: self.kernels(),
            threads: self.threads(),
            start,
            name: None,
            autosave,
            target: None,
            exporter: export::model,
            plotter: export::plot::state,
            meter: gpu::meter,
        }
    }

    /// A lab that begins a fresh run.
    ///
    /// # Errors
    /// As [`Self::run`] has them.
    pub fn fresh(&self, args: &RunArgs) -> Result<Start, Error> {
        let (config, settings) = self.run(args)?;
        Ok(Start::fresh(config, settings, args.teacher.clone()))
    }

    /// What a fresh run is made of: a recipe that is named, else what the configuration says and for the rest the tutorial; flags
    /// override both. The validation split, which no recipe has, is the configuration's in either case.
    ///
    /// # Errors
    /// If one of them gives a value that is none.
    pub fn run(&self, args: &RunArgs) -> Result<(RunConfig, Settings), Error> {
        let recipe = args.recipe()?;
        let mut settings = Settings::default();
        let configured = &self.config.train;
        if args.recipe.is_none() {
            for (name, value) in &configured.settings {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                name.parse::<Setting>()?.set(&mut settings, &text)?;
            }
        }
        for (setting, value) in recipe.settings {
            setting.set(&mut settings, value)?;
        }
        let given = args.settings.given();
        for (setting, value) in &given {
            setting.set(&mut settings, value)?;
        }
        check_taught(args, recipe, &given)?;
        let configured_arch = configured.arch.as_deref().filter(|_| args.recipe.is_none());
        let arch: Arch = args.arch.as_deref().or(configured_arch).unwrap_or(recipe.arch).parse()?;
        let validation_split = args.validation_split.or(configured.validation_split).unwrap_or(VALIDATION_SPLIT);
        if !(0.0..=0.9).contains(&validation_split) {
            return Err(Error::Usage(format!("`{validation_split}` is no validation split: use 0 to 0.9")));
        }
        let config = RunConfig { arch, seed: self.seed(), validation_split, teacher: None };
        Ok((config, settings))
    }

    /// Begins the log, if one was asked for.
    ///
    /// # Errors
    /// If its file can't be written.
    pub fn start_log(&self) -> Result<(), Error> {
        let Some(path) = &self.global.log else { return Ok(()) };
        let refused = |error| Error::Usage(format!("can't write the log {}: {error}", path.display()));
        let file = File::options().create(true).append(true).open(path).map_err(refused)?;
        let level = match self.global.verbose {
            0 => LevelFilter::INFO,
            1 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        tracing_subscriber::fmt().with_writer(file).with_ansi(false).with_max_level(level).init();
        Ok(())
    }
}

/// Refuses what only a teacher gives a meaning where there is none.
fn check_taught(args: &RunArgs, recipe: Recipe, given: &[(Setting, &str)]) -> Result<(), Error> {
    let what = match given.iter().map(|(setting, _)| setting).find(|setting| setting.needs_teacher()) {
        _ if !args.teacher.is_empty() => return Ok(()),
        Some(setting) => format!("--{}", setting.name()),
        None if recipe.is_taught => format!("--recipe {}", recipe.name),
        None => return Ok(()),
    };
    Err(Error::Usage(format!(
        "{what} is for a run that learns from others: add `--teacher SESSION`, a trained network"
    )))
}

/// `./sessions` if it exists, else the XDG data folder.
fn default_sessions() -> PathBuf {
    let here = PathBuf::from("sessions");
    if here.is_dir() {
        return here;
    }
    etcetera::choose_base_strategy().map_or(here, |folders| folders.data_dir().join("mnist-lab/sessions"))
}
