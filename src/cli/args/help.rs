//! What the help says of flags whose values are known elsewhere: settings, recipes, architectures, corruptions.

use clap::Arg;

use crate::arch::PRESETS;
use crate::data::corrupt::{Kind, SEVERITY};
use crate::train::recipe::Recipe;
use crate::train::settings::{Setting, Settings};

/// The setting that a flag changes, if it changes one.
fn setting_of(flag: &Arg) -> Option<Setting> {
    Setting::ALL.into_iter().find(|setting| flag.get_long() == Some(setting.name()))
}

/// A setting's flag with what it takes, and what it is if nobody says otherwise.
pub fn described(flag: Arg) -> Arg {
    let Some(setting) = setting_of(&flag) else { return flag };
    let default = setting.get(&Settings::default());
    flag.help(format!("{} [default: {default}]", setting.about())).help_heading("Settings")
}

/// A run's flag as a search takes it: layers may have gaps, and a setting that is not given may be searched.
pub fn of_all_trials(flag: Arg) -> Arg {
    match (flag.get_long(), setting_of(&flag)) {
        (Some("arch"), _) => flag
            .help("Layers in the place of the space's: a preset, or with gaps such as {units} that parameters fill")
            .long_help(None::<&str>),
        (Some("recipe"), _) => {
            let untaught = Recipe::ALL.into_iter().filter(|recipe| !recipe.is_taught);
            let names = untaught.map(|recipe| recipe.name).collect::<Vec<_>>().join(", ");
            let help =
                format!("Settings and epochs of a recipe, without its layers: {names}; single flags override it");
            flag.help(help).long_help(None::<&str>)
        }
        (Some("teacher"), _) => flag.hide(true),
        (_, Some(setting)) if setting.needs_teacher() => flag.hide(true),
        (_, Some(setting)) => {
            let help = match setting {
                Setting::Epochs => "epochs that a trial has at most, 1 to 100000 [default: 5]",
                _ => setting.about(),
            };
            flag.help(help).help_heading("Settings of all trials: one that is given is not searched")
        }
        _ => flag,
    }
}

pub fn presets() -> String {
    listed("Layers, or a preset:", &PRESETS.map(|preset| (preset.name, preset.about)))
}

pub fn recipes() -> String {
    let sentence =
        "Architecture and settings by a name, in the place of the configuration's; single flags override it:";
    listed(sentence, &Recipe::ALL.map(|recipe| (recipe.name, recipe.about)))
}

/// A sentence, and below it a line for each name that may be given.
fn listed(sentence: &str, names: &[(&str, &str)]) -> String {
    let lines = names.iter().map(|(name, about)| format!("  {name:<9}  {about}"));
    std::iter::once(sentence.to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}

pub fn corruptions() -> String {
    let names = Kind::ALL.map(Kind::name).join(", ");
    format!(
        "Corrupt the images first: a name of MNIST-C or `all`, and a severity from 1 to 5, {SEVERITY} if left out (fog, \
         fog:5, all:5); there are {names}"
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::cli::args::Arguments;
    use crate::train::settings::{Setting, Settings};

    /// The help of a command's flag.
    fn help(command: &str, flag: &str) -> String {
        let grammar = Arguments::command();
        let mut flags = grammar.find_subcommand(command).unwrap().get_arguments();
        flags.find(|argument| argument.get_long() == Some(flag)).unwrap().get_help().unwrap().to_string()
    }

    #[test]
    fn every_setting_is_a_flag_that_says_what_it_takes() {
        for setting in Setting::ALL {
            let default = format!("{} [default: {}]", setting.about(), setting.get(&Settings::default()));
            assert_eq!(help("train", setting.name()), default);
            assert_eq!(help("lab", setting.name()), default);
            if setting != Setting::Epochs && !setting.needs_teacher() {
                assert_eq!(help("tune", setting.name()), setting.about(), "it may be searched");
            }
        }
        assert!(help("tune", "epochs").contains("a trial"), "{}", help("tune", "epochs"));
    }
}
