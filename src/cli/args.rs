//! The grammar of the shell command line.

mod help;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use crate::command::{Corrupt, ExportArgs, SplitName, Together, TuneArgs};
use crate::nn::{DeviceChoice, Kernels};
use crate::train::recipe::Recipe;
use crate::train::settings::{Setting, SettingError};

/// A terminal lab for image classification: train, watch and question a CNN over SSH
///
/// Without a command the lab opens: a dashboard on which a network trains while you watch, ask and change settings.
#[derive(Parser)]
#[command(name = "mnist-lab", version, max_term_width = 100)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten, next_help_heading = "Options of every command")]
    pub global: Global,
    /// What to do; the lab opens without one.
    #[command(subcommand)]
    pub command: Option<Verb>,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Folder with four IDX files, raw or .gz; the MNIST inside the binary if not given
    #[arg(long, global = true, value_name = "DIR", env = "MNIST_LAB_DATA")]
    pub data: Option<PathBuf>,
    /// Where sessions are kept; `./sessions` if it exists, else the XDG data folder
    #[arg(long, global = true, value_name = "DIR", env = "MNIST_LAB_SESSIONS")]
    pub sessions: Option<PathBuf>,
    /// Where to compute: auto, cpu, cuda or cuda:N
    #[arg(long, global = true)]
    pub device: Option<DeviceChoice>,
    /// Which implementation computes: auto, composed (dfdx's operations) or fused (the project's own)
    #[arg(long, global = true, value_parser = kernels, hide_short_help = true)]
    pub kernels: Option<Kernels>,
    /// Threads that compute; as many as there are cores if not given. On the CPU a batch keeps 8 busy at most, a small one fewer
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Seed of every random draw (initial weights, order, dropout, augmentation); 0 if not given
    #[arg(long, global = true, value_name = "N")]
    pub seed: Option<u64>,
    /// Data as one JSON object a line on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Configuration file; `$XDG_CONFIG_HOME/mnist-lab/config.toml` if not given
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// No progress bar and no notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More in the log; twice for all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Writes a log to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Open the lab: the dashboard (what happens without a command)
    Lab(Box<LabArgs>),
    /// Train without the dashboard
    Train(Box<TrainArgs>),
    /// Search settings and layers: many trials, the best of which becomes a session
    Tune(Box<TuneVerb>),
    /// Open the dashboard on a run that `train --listen` trains; `q` leaves it, and it trains on
    Attach(AttachArgs),
    /// Measure a saved network on a whole split
    Eval(EvalArgs),
    /// Ask a saved network about test digits or image files
    Predict(PredictArgs),
    /// Answer HTTP requests with a saved network: an API and a page to draw on
    Serve(ServeArgs),
    /// Write a saved network as a file for other programs
    Export(ExportVerb),
    /// Make a session from a Keras .h5 or .keras file, or from a safetensors file
    Import(ImportArgs),
    /// The lab's command line without the dashboard; reads a script from --script or standard input
    Repl(ReplArgs),
    /// List, show, compare, delete or check saved sessions
    Sessions(SessionsArgs),
    /// What this machine and terminal can do, and what to do about what is missing
    Doctor,
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, of the program or of one command
    Man {
        /// Which command
        command: Option<String>,
    },
}

#[derive(Args, Default)]
pub struct LabArgs {
    /// Begin with this session, which has its own layers and settings
    #[arg(long, value_name = "SESSION")]
    pub load: Option<String>,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub screen: ScreenArgs,
    /// Begin with a walk through a first run, of about five minutes
    #[arg(long)]
    pub tour: bool,
}

/// How the dashboard is drawn.
#[derive(Args, Clone, Debug, Default)]
pub struct ScreenArgs {
    /// How images are drawn: auto, half-blocks, kitty, sixel, iterm2 or ascii
    #[arg(long, value_name = "HOW")]
    pub graphics: Option<String>,
    /// Colours for a dark or a light terminal; what COLORFGBG says if not given, else dark
    #[arg(long, value_name = "dark|light")]
    pub theme: Option<String>,
    /// Frames a second at most for what the run does by itself, 1 to 60; 8 if not given, fewer suit a slow line
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=60))]
    pub fps: Option<u8>,
}

#[derive(Args)]
pub struct AttachArgs {
    /// The socket that `train --listen` told; where it listens by itself if not given
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub screen: ScreenArgs,
}

/// What a fresh run is made of.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct RunArgs {
    /// Layers, or a preset: mlp, lenet5, tutorial, wide, resnet, strided
    #[arg(long, long_help = help::presets())]
    pub arch: Option<String>,
    /// Share of the training set, taken from its end, that is held out for validation, 0 to 0.9; 0.2 if not given
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub validation_split: Option<f64>,
    /// Architecture and settings by a name, in the place of the configuration's: tutorial, quick, augmented, distilled, best,
    /// ensemble; single flags override it
    #[arg(long, value_name = "NAME", long_help = help::recipes())]
    pub recipe: Option<String>,
    /// Learn from the networks of these sessions beside the labels (knowledge distillation): what they make of each training
    /// digit; several teach as their mean
    #[arg(long, value_name = "SESSION", value_delimiter = ',')]
    pub teacher: Vec<String>,
    #[command(flatten)]
    pub settings: SettingArgs,
}

impl RunArgs {
    /// The recipe that was named, or the tutorial's.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn recipe(&self) -> Result<Recipe, SettingError> {
        self.recipe.as_deref().map_or(Ok(Recipe::TUTORIAL), str::parse)
    }
}

/// The hyperparameters, each by the name it has in `set`.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(mut_args = help::described)]
pub struct SettingArgs {
    #[arg(long)]
    epochs: Option<String>,
    #[arg(long)]
    batch_size: Option<String>,
    #[arg(long, allow_hyphen_values = true)]
    lr: Option<String>,
    #[arg(long)]
    optimizer: Option<String>,
    #[arg(long)]
    schedule: Option<String>,
    #[arg(long)]
    weight_decay: Option<String>,
    #[arg(long)]
    dropout: Option<String>,
    #[arg(long)]
    label_smoothing: Option<String>,
    #[arg(long, value_name = "SHARE")]
    distill: Option<String>,
    #[arg(long)]
    temperature: Option<String>,
    #[arg(long)]
    augment: Option<String>,
    #[arg(long, value_name = "PATIENCE")]
    early_stop: Option<String>,
    #[arg(long, value_name = "SHARE")]
    ema: Option<String>,
    #[arg(long, value_name = "EPOCHS")]
    keep: Option<String>,
}

impl SettingArgs {
    /// The settings that were given, with their values.
    pub fn given(&self) -> Vec<(Setting, &str)> {
        let all = [
            (Setting::Epochs, &self.epochs),
            (Setting::BatchSize, &self.batch_size),
            (Setting::LearningRate, &self.lr),
            (Setting::Optimizer, &self.optimizer),
            (Setting::Schedule, &self.schedule),
            (Setting::WeightDecay, &self.weight_decay),
            (Setting::Dropout, &self.dropout),
            (Setting::LabelSmoothing, &self.label_smoothing),
            (Setting::Distill, &self.distill),
            (Setting::Temperature, &self.temperature),
            (Setting::Augment, &self.augment),
            (Setting::EarlyStop, &self.early_stop),
            (Setting::Ema, &self.ema),
            (Setting::Keep, &self.keep),
        ];
        all.into_iter().filter_map(|(setting, value)| Some((setting, value.as_deref()?))).collect()
    }
}

#[derive(Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Stop once the validation accuracy after an epoch reaches this, 0 to 1
    #[arg(long, value_name = "A", value_parser = accuracy, conflicts_with = "target_test_accuracy")]
    pub target_accuracy: Option<f64>,
    /// The same on the test set; for time-to-accuracy benchmarks alone
    #[arg(long, value_name = "A", value_parser = accuracy)]
    pub target_test_accuracy: Option<f64>,
    /// Save under this name, which must not be taken yet, also at each epoch's end; the first free run-N if not given
    #[arg(long, value_name = "NAME")]
    pub save: Option<String>,
    /// Save nothing
    #[arg(long, conflicts_with = "save")]
    pub no_save: bool,
    /// Go on with this session until --epochs, the run's total; other settings given here change it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["arch", "validation_split", "recipe", "teacher"])]
    pub resume: Option<String>,
    /// Train N networks with the seeds SEED, SEED + 1, … as the sessions NAME-1, NAME-2, …, and test them as one; the same
    /// command, with its --save NAME, goes on with what was interrupted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub members: Option<u16>,
    /// Write the curves to this file, .svg, .png or .csv
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Let `mnist-lab attach` open the dashboard on this run, and keep training when the terminal is gone; without SOCKET at
    /// `$XDG_RUNTIME_DIR/mnist-lab.sock`, or `$TMPDIR/mnist-lab-UID.sock` where that is not set
    #[arg(long, value_name = "SOCKET", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "not given, given without a path, given with one")]
    pub listen: Option<Option<PathBuf>>,
}

#[derive(Args)]
#[command(mut_args = help::of_all_trials)]
pub struct TuneVerb {
    #[command(flatten)]
    pub tune: TuneArgs,
    /// The search's folder, which workers on other machines can share; NAME.tune beside the sessions if not given
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Work on a search that somebody else began, and leave its table and its best trial to them
    #[arg(long)]
    pub worker: bool,
    /// What all trials have in common.
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Args)]
pub struct EvalArgs {
    /// Which session; of several each is measured
    #[arg(required = true, value_name = "SESSION")]
    pub names: Vec<String>,
    /// Which split
    #[arg(long, value_enum, default_value_t = SplitName::Test)]
    pub split: SplitName,
    /// Corrupt the images first: MNIST-C's name (fog, fog:5) or `all`, and a severity from 1 to 5, 3 if left out
    #[arg(long, value_name = "NAME[:SEVERITY]", long_help = help::corruptions())]
    pub corrupt: Option<Corrupt>,
    /// Measure the sessions as one: the mean of their probabilities
    #[arg(long)]
    pub ensemble: bool,
    #[command(flatten)]
    pub together: Together,
}

#[derive(Args)]
pub struct PredictArgs {
    /// Which session
    pub session: String,
    /// Indices into the test set, or PNG, JPEG or PGM files
    #[arg(required = true)]
    pub inputs: Vec<String>,
}

/// The environment variable with the server's token.
pub const TOKEN: &str = "MNIST_LAB_TOKEN";

#[derive(Args)]
pub struct ServeArgs {
    /// Which session; it is loaded anew when its file changes
    pub session: String,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub addr: SocketAddr,
    /// Answer only requests with the header `Authorization: Bearer TOKEN`; the page itself and /healthz stay open
    #[arg(long, value_name = "TOKEN", env = TOKEN, hide_env_values = true, value_parser = token)]
    pub token: Option<String>,
}

#[derive(Args)]
pub struct ExportVerb {
    /// Which session
    pub session: String,
    #[command(flatten)]
    pub export: ExportArgs,
}

#[derive(Args)]
pub struct ImportArgs {
    /// The model file
    pub file: PathBuf,
    /// The name of the new session
    #[arg(long = "as", value_name = "NAME")]
    pub name: String,
    /// The layers, where a safetensors file does not tell them
    #[arg(long)]
    pub arch: Option<String>,
}

#[derive(Args)]
pub struct ReplArgs {
    /// Which session; a fresh run if not given, of the configuration's network or else the tutorial's
    pub session: Option<String>,
    /// Reads the commands from this file; the first that fails ends it
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
}

#[derive(Args)]
pub struct SessionsArgs {
    #[command(subcommand)]
    pub verb: SessionsVerb,
}

#[derive(Subcommand)]
pub enum SessionsVerb {
    /// All sessions, the last written first
    List,
    /// Settings, epochs and edits of one
    Show {
        /// Which session
        name: String,
    },
    /// Settings and figures of two side by side
    Diff {
        /// One session
        a: String,
        /// The other
        b: String,
    },
    /// Delete one
    Rm {
        /// Which session
        name: String,
    },
    /// Check that one is whole; exit code 3 if not
    Verify {
        /// Which session
        name: String,
    },
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "use an IP address and a port such as 127.0.0.1:8080 or [::1]:8080".into())
}

fn token(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if plain { Ok(text.into()) } else { Err("use letters, digits and signs of ASCII, at least one".into()) }
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0, 0.9)
}

fn accuracy(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1.0)
}

fn within(text: &str, low: f64, high: f64) -> Result<f64, String> {
    let number = f64::from_str(text).ok().filter(|number| (low..=high).contains(number));
    number.ok_or_else(|| format!("use a number from {low} to {high}"))
}

fn kernels(text: &str) -> Result<Kernels, String> {
    match text {
        "auto" => Ok(Kernels::Auto),
        "composed" => Ok(Kernels::Composed),
        "fused" => Ok(Kernels::Fused),
        _ => Err("use auto, composed or fused".into()),
    }
}
