//! Everything a person can ask of the lab, from a key, the command line, a script or the shell: one grammar, one enum.

mod completion;
mod corrupt;
mod door;
mod drawing;
mod export;
mod filter;
mod guide;
mod line;
mod together;
mod tune;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::data::{CLASSES, Image};

pub use corrupt::Corrupt;
pub use door::{Depth, Door};
pub use drawing::Keep;
pub use export::{ExportArgs, ModelFormat, Quantization};
pub use filter::Filter;
pub use together::Together;
pub use tune::{OfSearch, TuneArgs};

/// One request to the lab.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Train until the run's epochs are done, or EPOCHS more
    Train {
        /// How many more; the run's `epochs` setting grows if need be
        #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
        epochs: Option<u32>,
    },
    /// Make single training steps, then pause
    Step {
        /// How many batches
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
        batches: u64,
    },
    /// Hold training between two batches
    Pause,
    /// Go on after a pause
    Resume,
    /// End the run here; `train` can go on from it
    Stop,
    /// Show the settings, or change one while it trains: `set lr 3e-4`
    Set {
        /// Which setting
        name: Option<String>,
        /// Its new value; without one the setting is shown
        #[arg(allow_hyphen_values = true)]
        value: Option<String>,
    },
    /// Predict a test digit or an image file: `predict 42`, `predict digit.png`
    Predict {
        /// Indices into the test set, or paths of PNG, JPEG or PGM files
        #[arg(required = true)]
        inputs: Vec<String>,
    },
    /// Show where the network looks in a digit, what speaks for each class, and what its layers see: `explain 42`
    Explain {
        /// An index into the test set, or the path of a PNG, JPEG or PGM file; the digit that is shown if left out
        input: Option<String>,
        /// Why it would be this class, 0 to 9; the predicted one if left out
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..CLASSES as i64))]
        class: Option<u8>,
    },
    /// Show the training digits that the network sees as most like a digit: `nearest 42`
    Nearest {
        /// An index into the test set, or the path of a PNG, JPEG or PGM file; the digit that is shown if left out
        input: Option<String>,
    },
    /// Show the next digit of the list; `next wrong` lists the misclassified, largest loss first
    Next {
        /// Which list; without it, the one that is shown
        list: Option<ListName>,
    },
    /// Show the previous digit of the list
    Prev {
        /// Which list; without it, the one that is shown
        list: Option<ListName>,
    },
    /// List the test digits that fit: `find true=4 pred=9`
    Find {
        /// `true=N`, `pred=N`, `class=N` (either), `wrong`, `right`, `doubtful`, `conf>0.9`, `conf<0.6`; all must hold
        #[arg(required = true, value_parser = filter::parse)]
        filters: Vec<Filter>,
    },
    /// Measure loss and accuracy of a whole split with the weights as they are
    Eval {
        /// Which split
        #[arg(long, value_enum, default_value_t = SplitName::Test)]
        split: SplitName,
        /// Corrupt the images first: `fog`, `shot_noise:5`, or `all` for a table
        #[arg(long)]
        corrupt: Option<Corrupt>,
        /// Of how many answers
        #[command(flatten)]
        together: Together,
    },
    /// Keep what is drawn in the dashboard: `draw save seven.png` as a file, `draw add 7` among the `drawings`
    Draw {
        /// How: as a file, or as a digit to try networks on
        #[arg(value_enum)]
        keep: Keep,
        /// The file's name for `save`, the true digit for `add`
        name: String,
        /// The drawing, which the dashboard brings.
        #[arg(skip)]
        image: Option<Box<Image>>,
    },
    /// What the curves say is wrong, and which commands may mend it
    Advice,
    /// Save the run; under NAME, or the name it has
    Save {
        /// A new name
        name: Option<String>,
    },
    /// Write the network as a file for other programs: `export -o digits.onnx`
    Export(ExportArgs),
    /// Write the curves, with branches and overlaid sessions, as a picture or a table: `plot curves.svg`, `.png`, `.csv`
    Plot {
        /// The file; its ending says what is written
        file: PathBuf,
    },
    /// Load a saved run in the place of this one, which is saved first
    Load {
        /// Which session
        name: String,
    },
    /// Begin a new run with fresh weights; this one is saved first
    New {
        /// A preset (mlp, lenet5, tutorial, wide, resnet, strided) or layers; this run's if left out
        arch: Option<String>,
        /// Names every random draw; this run's if left out
        #[arg(long)]
        seed: Option<u64>,
        /// Learn from the networks of these sessions beside the labels: `--teacher a,b`; this run's if left out, `none` for none
        #[arg(long, value_name = "SESSION", value_delimiter = ',')]
        teacher: Vec<String>,
    },
    /// Go back to the end of an epoch, with its weights, optimizer and random draws: `rewind 3`
    Rewind {
        /// Which epoch; 0 is the beginning
        epoch: u32,
    },
    /// Begin a branch here, or go over to one; without NAME all are listed
    Branch {
        /// A new name, or a branch that is there
        name: Option<String>,
    },
    /// Draw the curves of saved sessions behind this run's; `overlay none` takes them away
    Overlay {
        /// Which sessions
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// List the saved sessions
    Sessions,
    /// Answer HTTP requests with the network as it is, also while it trains
    Serve {
        /// Where to listen, `127.0.0.1:8080` if left out; `off` ends it
        #[arg(value_parser = door::parse)]
        address: Option<Door>,
    },
    /// What other programs ask through an adapter: the network's answer to images that they bring.
    #[command(skip)]
    Classify {
        /// Ready to be seen by the network, `[height, width]` each.
        images: Vec<Image>,
        /// What is wanted of each.
        depth: Depth,
    },
    /// Search settings and layers beside the run, from its settings: `tune --trials 20`; `tune 7` opens trial 7 as a session
    Tune {
        /// `off` ends the search, which can go on later; a number opens that trial
        #[arg(value_parser = tune::parse, conflicts_with_all = ["epochs", "trials", "save"])]
        what: Option<OfSearch>,
        /// Epochs that a trial has at most; 5 if not given
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        epochs: Option<u32>,
        /// How.
        #[command(flatten)]
        args: TuneArgs,
    },
    /// Walk through a first run, in the dashboard: training, mistakes, settings, going back
    Tour,
    /// Explain the commands, or one of them
    Help {
        /// Which command
        command: Option<String>,
    },
    /// Save and leave
    #[command(visible_alias = "exit")]
    Quit,
}

/// A list of digits with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListName {
    /// The misclassified, largest loss first
    Wrong,
    /// All, by index
    All,
    /// Those whose given label is in doubt
    Doubtful,
    /// The misclassified, those first of which the network is surest
    Confident,
    /// All, those first of which the network is least sure
    Unsure,
    /// Those that were right after one kept epoch and wrong after a later one, the most often forgotten first
    Forgotten,
    /// Your own, drawn in the dashboard
    Drawings,
}

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// The test set
    Test,
    /// The part of the training set that is held out for validation
    Validation,
    /// The part that is trained on
    Train,
    /// Your own digits, drawn in the dashboard
    Drawings,
}

impl SplitName {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Validation => "validation",
            Self::Train => "train",
            Self::Drawings => "drawings",
        }
    }
}

#[derive(Parser)]
#[command(name = "lab", no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// Why a line is no command, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub String);

impl Command {
    /// Reads a line as a person types it; `None` for an empty line or a comment.
    ///
    /// # Errors
    /// If it is no command: the sentence says what to type instead.
    pub fn parse(line: &str) -> Result<Option<Self>, CommandError> {
        let line = bare(line);
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        // No file has a name with one, and no quotes can bring it to another process.
        if line.contains('\0') {
            return Err(CommandError("a line can't hold the character NUL".into()));
        }
        let words = shlex::split(line).ok_or_else(|| CommandError("a quote is not closed".into()))?;
        match Line::try_parse_from(words) {
            Ok(line) => Ok(Some(line.command)),
            Err(error) => Err(CommandError(one_sentence(&error))),
        }
    }
}

/// A line without the key that opens the command line, which is often typed along.
fn bare(line: &str) -> &str {
    line.trim().trim_start_matches(':').trim_start()
}

/// clap's paragraphs as one sentence: the error and its tip, without usage and colours.
fn one_sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let kept = lines.take_while(|line| !line.starts_with("Usage") && !line.starts_with("For more"));
    let sentence = kept.collect::<Vec<_>>().join(" ").replace("error: ", "").replace("tip: ", "").replace('\'', "`");
    format!("{}; `help` lists the commands", sentence.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use crate::data::corrupt::{Corruption, Kind};

    use super::{
        Command, CommandError, Corrupt, Door, ExportArgs, Filter, Keep, ListName, ModelFormat, OfSearch, Quantization,
        SplitName, Together, TuneArgs,
    };

    #[track_caller]
    fn check(line: &str, expected: Command) {
        assert_eq!(Command::parse(line), Ok(Some(expected)), "{line}");
    }

    #[test]
    fn lines_become_commands() {
        check("train", Command::Train { epochs: None });
        check(":pause", Command::Pause);
        check("train 5", Command::Train { epochs: Some(5) });
        check("  step 100 ", Command::Step { batches: 100 });
        check("set lr 3e-4", Command::Set { name: Some("lr".into()), value: Some("3e-4".into()) });
        check("set lr -1", Command::Set { name: Some("lr".into()), value: Some("-1".into()) });
        check("predict \"my digit.png\" 42", Command::Predict { inputs: vec!["my digit.png".into(), "42".into()] });
        check("next wrong", Command::Next { list: Some(ListName::Wrong) });
        check("prev", Command::Prev { list: None });
        check("next confident", Command::Next { list: Some(ListName::Confident) });
        check("next unsure", Command::Next { list: Some(ListName::Unsure) });
        check("next forgotten", Command::Next { list: Some(ListName::Forgotten) });
        check("find true=4 pred=9", Command::Find { filters: vec![Filter::True(4), Filter::Predicted(9)] });
        check(
            "find class=4 conf>0.9 conf<0.99",
            Command::Find { filters: vec![Filter::Class(4), Filter::Surer(0.9), Filter::LessSure(0.99)] },
        );
        let eval = |split, corrupt| Command::Eval { split, corrupt, together: Together::default() };
        check("eval", eval(SplitName::Test, None));
        check("eval --split train", eval(SplitName::Train, None));
        let fog = Corruption::new(Kind::Fog, 5).map(Corrupt::One).ok();
        check("eval --corrupt fog:5", eval(SplitName::Test, fog));
        let together = Together { with: vec!["a".into(), "my b".into()], views: 8 };
        check(
            "eval --with a '--with=my b' --views 8",
            Command::Eval { split: SplitName::Test, corrupt: None, together },
        );
        let draw = |keep, name: &str| Command::Draw { keep, name: name.into(), image: None };
        check("draw save seven.png", draw(Keep::Save, "seven.png"));
        check("draw add 7", draw(Keep::Add, "7"));
        check("next drawings", Command::Next { list: Some(ListName::Drawings) });
        check("eval --corrupt all", eval(SplitName::Test, Some(Corrupt::All(3))));
        let new = |seed, teacher: &[&str]| Command::New {
            arch: Some("lenet5".into()),
            seed,
            teacher: teacher.iter().map(ToString::to_string).collect(),
        };
        check("new lenet5 --seed 7", new(Some(7), &[]));
        check("new lenet5 --teacher a --teacher b", new(None, &["a", "b"]));
        check("new --teacher a,b lenet5", new(None, &["a", "b"]));
        check("nearest 42", Command::Nearest { input: Some("42".into()) });
        check("nearest", Command::Nearest { input: None });
        check("explain 42", Command::Explain { input: Some("42".into()), class: None });
        check("explain --class 3", Command::Explain { input: None, class: Some(3) });
        check("advice", Command::Advice);
        check("rewind 3", Command::Rewind { epoch: 3 });
        check("branch", Command::Branch { name: None });
        check("branch slow", Command::Branch { name: Some("slow".into()) });
        check("overlay demo run-1", Command::Overlay { names: vec!["demo".into(), "run-1".into()] });
        let tune = |what, args| Command::Tune { what, epochs: None, args };
        check("tune", tune(None, TuneArgs::default()));
        check("tune off", tune(Some(OfSearch::Off), TuneArgs::default()));
        check("tune 7", tune(Some(OfSearch::Open(7)), TuneArgs::default()));
        let algorithm = Some(crate::tune::study::Algorithm::Tpe);
        check(
            "tune --algorithm tpe --trials 9",
            tune(None, TuneArgs { algorithm, trials: Some(9), ..TuneArgs::default() }),
        );
        check("serve", Command::Serve { address: None });
        check("serve 9000", Command::Serve { address: Some(Door::Open(([127, 0, 0, 1], 9000).into())) });
        check("serve [::]:80", Command::Serve { address: Some(Door::Open("[::]:80".parse().unwrap())) });
        check("serve off", Command::Serve { address: Some(Door::Closed) });
        check(
            "export -o a.tflite --quantize int8",
            Command::Export(ExportArgs { to: None, output: "a.tflite".into(), quantize: Quantization::Int8 }),
        );
        check("plot \"my curves.csv\"", Command::Plot { file: "my curves.csv".into() });
        check("exit", Command::Quit);
        assert_eq!(Command::parse("  # a comment"), Ok(None));
    }

    #[test]
    fn what_is_no_command_is_answered_with_one_sentence() {
        for line in [
            "trian 5",
            "train 0",
            "step x",
            "find true=11",
            "find colour=3",
            "find conf>2",
            "find conf=1",
            "predict",
            "predict 'a",
            "load",
            "-x",
            "serve everywhere",
            "tune seven",
            "tune off --trials 3",
            "tune --algorithm magic",
            "classify",
            "save 'a\0b'",
        ] {
            let error = Command::parse(line).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() > 10, "{line}: {error}");
        }
        assert!(Command::parse("trian 5").unwrap_err().0.contains("`train`"));
    }

    #[test]
    fn the_format_is_what_was_asked_for_or_what_the_name_ends_with() {
        let format = |to, output: &str, quantize| ExportArgs { to, output: output.into(), quantize }.format();
        assert_eq!(format(None, "a.b.H5", Quantization::None), Ok(ModelFormat::H5));
        assert_eq!(format(Some(ModelFormat::Onnx), "a.h5", Quantization::None), Ok(ModelFormat::Onnx));
        let refused = |result: Result<ModelFormat, CommandError>| result.unwrap_err().to_string();
        assert!(refused(format(None, "a.xyz", Quantization::None)).contains("--to"));
        assert!(refused(format(None, "a.h5", Quantization::Int8)).contains("--quantize"));
    }
}
