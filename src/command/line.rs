//! A command as the line that a person would type for it.

use std::fmt;

use super::{Command, Corrupt, Door, ExportArgs, ListName, Quantization, SplitName};

impl fmt::Display for Command {
    /// What [`Command::parse`] makes this command of, but for images: nobody types those, and [`Command::Classify`] has no line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Train { epochs } => option(f, epochs.as_ref()),
            Self::Step { batches } => write!(f, " {batches}"),
            Self::Set { name, value } => positional(f, name.iter().chain(value)),
            Self::Predict { inputs } => positional(f, inputs),
            Self::Explain { input, class } => {
                option(f, class.map(|class| format!("--class {class}")).as_ref())?;
                positional(f, input)
            }
            Self::Nearest { input } => positional(f, input),
            Self::Next { list } | Self::Prev { list } => option(f, list.map(ListName::word).as_ref()),
            Self::Find { filters } => words(f, filters.iter().map(ToString::to_string)),
            Self::Eval { split, corrupt, together } => {
                if *split != SplitName::Test {
                    write!(f, " --split {}", split.word())?;
                }
                option(f, corrupt.map(|corrupt| format!("--corrupt {corrupt}")).as_ref())?;
                words(f, together.with.iter().map(|name| format!("--with={name}")))?;
                option(f, (together.views > 1).then(|| format!("--views={}", together.views)).as_ref())
            }
            Self::Save { name } | Self::Branch { name } => positional(f, name),
            Self::Export(args) => export(f, args),
            Self::Plot { file } => positional(f, [file.to_string_lossy()]),
            Self::Draw { keep, name, .. } => {
                write!(f, " {}", keep.word())?;
                positional(f, [name])
            }
            Self::Load { name } => positional(f, [name]),
            Self::New { arch, seed, teacher } => {
                option(f, seed.map(|seed| format!("--seed {seed}")).as_ref())?;
                words(f, teacher.iter().map(|name| format!("--teacher={name}")))?;
                positional(f, arch)
            }
            Self::Rewind { epoch } => write!(f, " {epoch}"),
            Self::Overlay { names } => positional(f, names),
            Self::Serve { address } => option(f, address.as_ref()),
            Self::Tune { what, epochs, args } => {
                option(f, what.as_ref())?;
                option(f, epochs.map(|epochs| format!("--epochs={epochs}")).as_ref())?;
                write!(f, "{args}")
            }
            Self::Help { command } => positional(f, command),
            Self::Pause
            | Self::Resume
            | Self::Stop
            | Self::Advice
            | Self::Sessions
            | Self::Classify { .. }
            | Self::Tour
            | Self::Quit => Ok(()),
        }
    }
}

impl Command {
    /// The word that its line begins with.
    const fn name(&self) -> &'static str {
        match self {
            Self::Train { .. } => "train",
            Self::Step { .. } => "step",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
            Self::Set { .. } => "set",
            Self::Predict { .. } => "predict",
            Self::Explain { .. } => "explain",
            Self::Nearest { .. } => "nearest",
            Self::Next { .. } => "next",
            Self::Prev { .. } => "prev",
            Self::Find { .. } => "find",
            Self::Eval { .. } => "eval",
            Self::Draw { .. } => "draw",
            Self::Advice => "advice",
            Self::Save { .. } => "save",
            Self::Export(_) => "export",
            Self::Plot { .. } => "plot",
            Self::Load { .. } => "load",
            Self::New { .. } => "new",
            Self::Rewind { .. } => "rewind",
            Self::Branch { .. } => "branch",
            Self::Overlay { .. } => "overlay",
            Self::Sessions => "sessions",
            Self::Serve { .. } => "serve",
            Self::Classify { .. } => "classify",
            Self::Tune { .. } => "tune",
            Self::Tour => "tour",
            Self::Help { .. } => "help",
            Self::Quit => "quit",
        }
    }
}

fn export(f: &mut fmt::Formatter<'_>, args: &ExportArgs) -> fmt::Result {
    option(f, args.to.map(|format| format!("--to {}", format.word())).as_ref())?;
    if args.quantize != Quantization::None {
        write!(f, " --quantize {}", args.quantize.word())?;
    }
    // With `=` a name that begins with `-` is no option.
    words(f, [format!("--output={}", args.output.display())])
}

fn option(f: &mut fmt::Formatter<'_>, value: Option<&impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {value}"))
}

/// Words that are no options, even if one begins with `-`.
fn positional(f: &mut fmt::Formatter<'_>, all: impl IntoIterator<Item = impl AsRef<str>> + Clone) -> fmt::Result {
    if all.clone().into_iter().any(|word| word.as_ref().starts_with('-')) {
        f.write_str(" --")?;
    }
    words(f, all)
}

/// Words, each in quotes if it needs them. No argument holds a NUL, which could not be quoted.
fn words(f: &mut fmt::Formatter<'_>, all: impl IntoIterator<Item = impl AsRef<str>>) -> fmt::Result {
    let mut words = all.into_iter();
    words.try_for_each(|word| write!(f, " {}", shlex::try_quote(word.as_ref()).unwrap_or_default()))
}

impl ListName {
    /// The word for it.
    const fn word(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::All => "all",
            Self::Doubtful => "doubtful",
            Self::Confident => "confident",
            Self::Unsure => "unsure",
            Self::Forgotten => "forgotten",
            Self::Drawings => "drawings",
        }
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(corruption) => write!(f, "{corruption}"),
            Self::All(severity) => write!(f, "all:{severity}"),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(address) => write!(f, "{address}"),
            Self::Closed => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any};
    use proptest::{prop_assert_eq, proptest};

    use super::super::{Command, Filter};

    /// The line of a command is that command again.
    #[track_caller]
    fn check(line: &str) {
        let command = Command::parse(line).unwrap().unwrap();
        let written = command.to_string();
        assert_eq!(Command::parse(&written), Ok(Some(command)), "{line}: {written}");
    }

    #[test]
    fn lines_are_commands_again() {
        let all = "train|train 5|step|step 100|pause|resume|stop|set|set lr|set lr 3e-4|set lr -1|predict 42 'my digit.png'\
            |predict -- -odd.png|explain|explain 42 --class 3|next|next wrong|prev all|prev doubtful|next forgotten|next drawings|draw add 7|draw save 'my seven.png'|draw save -- -7.png|plot 'my curves.svg'|plot -- -x.csv\
            |find true=4 pred=9 class=3 conf>0.9 conf<0.33 wrong right doubtful|eval|eval --split train\
            |eval --split validation --corrupt fog:5|eval --corrupt all:2|eval --corrupt shot_noise|advice|save|save mine\
            |load mine|new|new 'conv8 relu flatten dense10' --seed 7|rewind 3|branch|branch slow|overlay a b|overlay none\
            |sessions|tour|tune|tune off|tune 7|tune --epochs 3 --trials 9 --algorithm hyperband --space 'my space.toml' --objective val_loss\
            |tune --stop none --save=-x --jobs 2 --lag 8|serve|serve 8080|serve [::1]:9|serve off|help|help set|quit|exit\
            |export -o digits.onnx|export -o 'a b.bin' --to tflite --quantize int8|export --output=-x.h5";
        all.split('|').for_each(check);
    }

    proptest! {
        /// Also with words that no person would choose.
        #[test]
        fn any_words_stay_what_they_are(inputs in proptest::collection::vec("[^\\x00]{1,20}", 1..4), name in "[^\\x00]{1,20}") {
            for command in [Command::Predict { inputs: inputs.clone() }, Command::Save { name: Some(name.clone()) }] {
                prop_assert_eq!(Command::parse(&command.to_string()), Ok(Some(command)));
            }
        }

        #[test]
        fn any_confidence_stays_what_it_is(share in any::<u32>().prop_map(|n| n as f32 / u32::MAX as f32)) {
            let command = Command::Find { filters: vec![Filter::Surer(share), Filter::LessSure(share)] };
            prop_assert_eq!(Command::parse(&command.to_string()), Ok(Some(command)));
        }
    }
}
