//! What a person who types is told of the commands: all of them, one, what may follow, and what is being typed.

use clap::CommandFactory;

use super::{Command, CommandError, Line};
use crate::arch::PRESETS;
use crate::data::CLASSES;
use crate::data::corrupt::Kind;
use crate::train::settings::Setting;

/// Flags that are named in a command's usage; `help COMMAND` tells of more.
const MOST_FLAGS: usize = 4;

impl Command {
    /// All commands with their doc line, as the grammar knows them.
    pub fn catalogue() -> Vec<(String, String)> {
        Line::command()
            .get_subcommands()
            .map(|command| (usage(command), command.get_about().map(ToString::to_string).unwrap_or_default()))
            .collect()
    }

    /// What `help` says: of all commands, or of one.
    ///
    /// # Errors
    /// If there is no such command.
    pub fn help(name: Option<&str>) -> Result<String, CommandError> {
        let Some(name) = name else {
            let lines = Self::catalogue().into_iter().map(|(usage, about)| format!("{usage:<26} {about}"));
            return Ok(lines.collect::<Vec<_>>().join("\n"));
        };
        let grammar = Line::command();
        let Some(command) = grammar.find_subcommand(name) else {
            return Err(CommandError(format!("there is no command `{name}`: `help` lists them")));
        };
        let mut lines = vec![usage(command), command.get_about().map(ToString::to_string).unwrap_or_default()];
        for argument in command.get_arguments() {
            let about = argument.get_help().map(ToString::to_string).unwrap_or_default();
            lines.push(format!("  {:<12} {about}", argument.get_id().as_str().to_uppercase()));
        }
        if name == "set" {
            lines.extend(Setting::ALL.map(|setting| format!("  {:<16} {}", setting.name(), setting.about())));
        }
        Ok(lines.join("\n"))
    }

    /// The words that may stand where `line` ends, for completion: each with the whole line that it would make.
    pub fn completions(line: &str, sessions: &[String]) -> Vec<String> {
        let (before, word) = line.rsplit_once(' ').map_or(("", line), |(before, word)| (before, word));
        let names = |settings: &[&str]| settings.iter().map(ToString::to_string).collect::<Vec<_>>();
        let candidates = match before.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] | ["help"] => Line::command().get_subcommands().map(|command| command.get_name().to_owned()).collect(),
            ["set"] => Setting::ALL.map(|setting| setting.name().to_owned()).to_vec(),
            ["next" | "prev"] => names(&["wrong", "confident", "unsure", "all", "doubtful", "forgotten", "drawings"]),
            ["find", ..] => names(&["true=", "pred=", "class=", "conf>", "conf<", "wrong", "right", "doubtful"]),
            ["explain", .., "--class"] => (0..CLASSES).map(|class| class.to_string()).collect(),
            ["explain", ..] => names(&["--class"]),
            ["tune"] => names(&[
                "off",
                "--trials",
                "--epochs",
                "--algorithm",
                "--space",
                "--objective",
                "--stop",
                "--save",
                "--jobs",
            ]),
            ["tune", .., "--algorithm"] => names(&["random", "tpe", "halving", "hyperband"]),
            ["tune", .., "--objective"] => names(&["val_accuracy", "val_loss"]),
            ["tune", .., "--stop"] => names(&["median", "none"]),
            ["serve"] => names(&["127.0.0.1:8080", "off"]),
            ["export"] => names(&["--to", "-o", "--quantize"]),
            ["export", .., "--to"] => names(&["onnx", "tflite", "keras", "h5", "safetensors"]),
            ["export", .., "--quantize"] => names(&["none", "f16", "dynamic", "int8"]),
            ["draw"] => names(&["save", "add"]),
            ["eval"] => names(&["--split", "--corrupt", "--with", "--views"]),
            ["eval", "--corrupt"] => {
                Kind::ALL.map(Kind::name).map(str::to_owned).into_iter().chain(["all".into()]).collect()
            }
            ["eval", "--split"] => names(&["test", "validation", "train", "drawings"]),
            ["load" | "save"] | ["eval", .., "--with"] => sessions.to_vec(),
            ["overlay", ..] => sessions.iter().cloned().chain(["none".to_owned()]).collect(),
            ["new"] => PRESETS.map(|preset| preset.name.to_owned()).to_vec(),
            ["set", "augment"] => names(&["none", "tutorial", "rotate=10,shift=0.1,zoom=0.1"]),
            ["set", "optimizer"] => {
                names(&["adam", "adamw", "sgd", "sgd:momentum=0.9", "sgd:momentum=0.9:nesterov", "rmsprop"])
            }
            ["set", "schedule"] => names(&["constant", "step:5:0.5", "cosine", "onecycle", "warmup:1"]),
            _ => Vec::new(),
        };
        let lead = if before.is_empty() { String::new() } else { format!("{before} ") };
        candidates.iter().filter(|name| name.starts_with(word)).map(|name| format!("{lead}{name}")).collect()
    }

    /// The doc line of the command that `line` begins with, if it can be told.
    pub fn doc(line: &str) -> Option<String> {
        let name = line.split_whitespace().next()?;
        if let Some(setting) =
            line.strip_prefix("set ").and_then(|rest| rest.split_whitespace().next()?.parse::<Setting>().ok())
        {
            return Some(format!("{}: {}", setting.name(), setting.about()));
        }
        let grammar = Line::command();
        let mut fitting = grammar.get_subcommands().filter(|command| command.get_name().starts_with(name));
        let command = grammar.find_subcommand(name).or_else(|| fitting.next().filter(|_| fitting.next().is_none()))?;
        Some(format!("{}: {}", usage(command), command.get_about()?))
    }
}

/// `step [BATCHES]`
fn usage(command: &clap::Command) -> String {
    let mut usage = command.get_name().to_owned();
    let flags = command.get_arguments().filter(|argument| argument.get_long().is_some()).count();
    for argument in command.get_arguments().filter(|argument| flags <= MOST_FLAGS || argument.get_long().is_none()) {
        let mut name = argument.get_id().as_str().to_uppercase();
        if let Some(long) = argument.get_long() {
            name = format!("--{long} {name}");
        }
        let many = matches!(argument.get_action(), clap::ArgAction::Append)
            || argument.get_num_args().is_some_and(|count| count.max_values() > 1);
        let dots = if many { "…" } else { "" };
        usage += &if argument.is_required_set() { format!(" {name}{dots}") } else { format!(" [{name}{dots}]") };
    }
    if flags > MOST_FLAGS {
        usage += " [--FLAG …]";
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn completion_offers_what_can_follow() {
        assert_eq!(Command::completions("pre", &[]), ["predict", "prev"]);
        assert_eq!(Command::completions("set dro", &[]), ["set dropout"]);
        assert_eq!(Command::completions("load b", &["a".into(), "bee".into()]), ["load bee"]);
        assert!(Command::completions("pause ", &[]).is_empty());
    }

    #[test]
    fn the_doc_line_tells_the_usage() {
        assert!(Command::doc("tra").unwrap().starts_with("train [EPOCHS]: "));
        assert!(Command::doc("set lr ").unwrap().starts_with("lr: "));
        assert_eq!(Command::doc("xyz"), None);
        assert!(Command::help(Some("set")).unwrap().contains("label-smoothing"));
        assert!(Command::help(Some("fly")).is_err());
    }
}
