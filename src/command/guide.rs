//! What a person who types is told of the commands: all of them, one, and what is being typed.

use clap::CommandFactory;

use super::{Command, CommandError, Line, bare};
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

    /// Whether no command begins as `line` does.
    pub fn is_unknown(line: &str) -> bool {
        let Some(name) = bare(line).split_whitespace().next().filter(|name| !name.starts_with('#')) else {
            return false;
        };
        let grammar = Line::command();
        let mut names = grammar.get_subcommands().flat_map(clap::Command::get_name_and_visible_aliases);
        !names.any(|known| known.starts_with(name))
    }

    /// The doc line of the command that `line` begins with, if it can be told.
    pub fn doc(line: &str) -> Option<String> {
        let line = bare(line);
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

/// Whether an argument can be given more than once, or takes more than one word.
pub(super) fn takes_many(argument: &clap::Arg) -> bool {
    matches!(argument.get_action(), clap::ArgAction::Append)
        || argument.get_num_args().is_some_and(|count| count.max_values() > 1)
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
        let dots = if takes_many(argument) { "…" } else { "" };
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
    fn the_doc_line_tells_the_usage() {
        assert!(Command::doc("tra").unwrap().starts_with("train [EPOCHS]: "));
        assert!(Command::doc("set lr ").unwrap().starts_with("lr: "));
        assert!(Command::doc(":train 5").unwrap().starts_with("train [EPOCHS]: "));
        assert!(Command::doc(":set lr ").unwrap().starts_with("lr: "));
        assert_eq!(Command::doc("xyz"), None);
        assert!(Command::help(Some("set")).unwrap().contains("label-smoothing"));
        assert!(Command::help(Some("fly")).is_err());
    }

    #[test]
    fn what_may_become_a_command_is_not_called_unknown() {
        for line in ["", " ", ":", "s", "pre", ":t", "train 5", ":train 5", "exi", "exit", "# a comment"] {
            assert!(!Command::is_unknown(line), "{line}");
        }
        for line in ["xyz", ":trian 5", "step100"] {
            assert!(Command::is_unknown(line), "{line}");
        }
    }
}
