//! What may follow what is typed: commands, their flags, and the words that an argument takes.

use clap::{Arg, CommandFactory};

use super::guide::takes_many;
use super::{Command, Line};
use crate::arch::PRESETS;
use crate::data::CLASSES;
use crate::data::corrupt::Kind;
use crate::train::settings::Setting;
use crate::tune::study::{Algorithm, Objective, Stopping};

impl Command {
    /// The words that may stand where `line` ends, for completion: each with the whole line that it would make.
    pub fn completions(line: &str, sessions: &[String]) -> Vec<String> {
        let (before, word) = line.rsplit_once(' ').unwrap_or(("", line));
        let words: Vec<&str> = before.split_whitespace().collect();
        let lead = if before.is_empty() { String::new() } else { format!("{before} ") };
        let fitting = candidates(&words, sessions).into_iter().filter(|candidate| candidate.starts_with(word));
        fitting.map(|candidate| format!("{lead}{candidate}")).collect()
    }

    /// Whether the name of a session may stand where `line` ends.
    pub fn takes_session(line: &str) -> bool {
        let Some((before, _)) = line.rsplit_once(' ') else { return false };
        let words: Vec<&str> = before.split_whitespace().collect();
        let takes = |command: &str, _: &[&str], next: Next| next.argument.is_some_and(|arg| is_session(command, arg));
        following(&words, takes).unwrap_or(false)
    }
}

/// The words that may follow these.
fn candidates(words: &[&str], sessions: &[String]) -> Vec<String> {
    if words.is_empty() {
        return names();
    }
    let candidates = |command: &str, words: &[&str], next: Next| {
        let values = next.argument.map(|argument| values_of(command, argument, words, sessions));
        let flags = next.flags.iter().filter_map(|flag| Some(format!("--{}", flag.get_long()?)));
        values.into_iter().flatten().chain(flags).collect()
    };
    following(words, candidates).unwrap_or_default()
}

/// What `answer` makes of the command that `words` begin with, its own words, and what may follow them; nothing of no command.
fn following<T>(words: &[&str], answer: impl FnOnce(&str, &[&str], Next) -> T) -> Option<T> {
    let (name, words) = words.split_first()?;
    let grammar = Line::command();
    let command = grammar.find_subcommand(name)?;
    Some(answer(command.get_name(), words, Next::after(command, words)))
}

/// The names of all commands.
fn names() -> Vec<String> {
    Line::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// What may follow some words of a command.
struct Next<'g> {
    /// The argument that takes the next word.
    argument: Option<&'g Arg>,
    /// The flags that may stand there instead.
    flags: Vec<&'g Arg>,
}

impl<'g> Next<'g> {
    fn after(command: &'g clap::Command, words: &[&str]) -> Self {
        let (mut given, mut places) = (Vec::new(), 0);
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let Some(flag) = command.get_arguments().find(|argument| is_called(argument, name)) else {
                places += 1;
                continue;
            };
            if value.or_else(|| words.next()).is_none() {
                return Self { argument: Some(flag), flags: Vec::new() };
            }
            given.push(flag.get_id());
        }
        let positionals: Vec<&Arg> = command.get_positionals().collect();
        let last = positionals.last().copied().filter(|last| takes_many(last));
        let flags = command.get_arguments().filter(|argument| argument.get_long().is_some());
        let flags = flags.filter(|flag| takes_many(flag) || !given.contains(&flag.get_id()));
        Self { argument: positionals.get(places).copied().or(last), flags: flags.collect() }
    }
}

/// Whether this is the flag that `word` names.
fn is_called(argument: &Arg, word: &str) -> bool {
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    [long, short].into_iter().flatten().any(|name| name == word)
}

/// Whether an argument of this command is the name of a session.
fn is_session(command: &str, argument: &Arg) -> bool {
    let argument = argument.get_id().as_str();
    matches!(
        (command, argument),
        ("load" | "save", "name") | ("overlay", "names") | ("eval", "with") | ("new", "teacher")
    )
}

/// The words that an argument takes, as far as they can be told; `words` are those of its command before it.
fn values_of(command: &str, argument: &Arg, words: &[&str], sessions: &[String]) -> Vec<String> {
    let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let known = argument.get_possible_values();
    if !known.is_empty() {
        return known.iter().map(|value| value.get_name().to_owned()).collect();
    }
    match (command, argument.get_id().as_str()) {
        ("help", "command") => names(),
        ("set", "name") => Setting::ALL.map(|setting| setting.name().to_owned()).into(),
        ("set", "value") => match words.first().and_then(|name| name.parse::<Setting>().ok()) {
            Some(Setting::Augment) => owned(&["none", "tutorial", "rotate=10,shift=0.1,zoom=0.1"]),
            Some(Setting::Optimizer) => {
                owned(&["adam", "adamw", "sgd", "sgd:momentum=0.9", "sgd:momentum=0.9:nesterov", "rmsprop"])
            }
            Some(Setting::Schedule) => {
                owned(&["constant", "step:5:0.5", "cosine", "onecycle", "warmup:1", "warmup:1:cosine"])
            }
            _ => Vec::new(),
        },
        ("find", "filters") => owned(&["true=", "pred=", "class=", "conf>", "conf<", "wrong", "right", "doubtful"]),
        ("explain", "class") => (0..CLASSES).map(|class| class.to_string()).collect(),
        ("eval", "corrupt") => Kind::ALL.map(Kind::name).into_iter().chain(["all"]).map(str::to_owned).collect(),
        ("new", "arch") => PRESETS.map(|preset| preset.name.to_owned()).into(),
        ("serve", "address") => owned(&["127.0.0.1:8080", "off"]),
        ("tune", "what") => owned(&["off"]),
        ("tune", "algorithm") => owned(Algorithm::WORDS),
        ("tune", "objective") => owned(Objective::WORDS),
        ("tune", "stop") => owned(Stopping::WORDS),
        ("overlay", "names") | ("new", "teacher") => sessions.iter().cloned().chain(["none".to_owned()]).collect(),
        _ if is_session(command, argument) => sessions.to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory};

    use super::{Command, Line};

    #[test]
    fn completion_offers_what_can_follow() {
        assert_eq!(Command::completions("pre", &[]), ["predict", "prev"]);
        assert_eq!(Command::completions("set dro", &[]), ["set dropout"]);
        assert_eq!(Command::completions("load b", &["a".into(), "bee".into()]), ["load bee"]);
        assert!(Command::completions("pause ", &[]).is_empty());
        assert_eq!(Command::completions("new le", &[]), ["new lenet5"]);
        assert_eq!(Command::completions("export --to onnx --quantize d", &[]), ["export --to onnx --quantize dynamic"]);
        assert_eq!(Command::completions("eval --split test --corrupt fo", &[]), ["eval --split test --corrupt fog"]);
        assert_eq!(Command::completions("tune --algorithm=tpe --la", &[]), ["tune --algorithm=tpe --lag"]);
        // Of a flag the value alone can follow; another time only that which may be given several times.
        assert!(Command::completions("tune --trials ", &[]).is_empty());
        assert!(Command::completions("eval --views 8 --v", &[]).is_empty());
        assert_eq!(Command::completions("eval --with a --w", &[]), ["eval --with a --with"]);
    }

    #[test]
    fn every_flag_is_offered() {
        for command in Line::command().get_subcommands() {
            let offered = Command::completions(&format!("{} ", command.get_name()), &[]);
            for flag in command.get_arguments().filter_map(Arg::get_long) {
                assert!(offered.contains(&format!("{} --{flag}", command.get_name())), "{offered:?}");
            }
        }
    }

    #[test]
    fn what_is_offered_is_understood() {
        for line in [
            "next ",
            "prev ",
            "find w",
            "explain 42 --class ",
            "set optimizer ",
            "tune o",
            "tune --algorithm ",
            "tune --objective ",
            "tune --stop ",
            "serve ",
            "eval --split ",
            "eval --corrupt ",
            "new t",
            "export -o a --to ",
            "export -o a --quantize ",
            "help ",
        ] {
            let offered = Command::completions(line, &[]);
            assert!(!offered.is_empty(), "{line}");
            assert!(offered.iter().all(|line| Command::parse(line).is_ok()), "{offered:?}");
        }
    }

    #[test]
    fn names_of_sessions_are_offered_where_one_is_taken() {
        let sessions = ["bee".to_owned()];
        let lines = [
            "load ",
            "load b",
            "save ",
            "overlay ",
            "overlay demo b",
            "eval --with ",
            "eval --views 8 --with b",
            "new --teacher ",
        ];
        for line in lines {
            assert!(Command::takes_session(line), "{line}");
            assert!(Command::completions(line, &sessions).iter().any(|whole| whole.ends_with(" bee")), "{line}");
        }
        for line in ["", "load", "load bee ", "eval ", "eval --with bee ", "branch "] {
            assert!(!Command::takes_session(line), "{line}");
            assert!(Command::completions(line, &sessions).iter().all(|whole| !whole.ends_with(" bee")), "{line}");
        }
    }
}
