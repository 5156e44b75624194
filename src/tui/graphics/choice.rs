//! Which way images take to the terminal: chosen by a person, or told by the environment.

use super::pixels::Protocol;

/// The way that images take to the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// What the environment says the terminal can do; half-blocks where that is not sure
    #[default]
    Auto,
    /// Two pixels a character, in colours
    #[value(name = "half-blocks", alias = "halfblocks")]
    HalfBlocks,
    /// Kitty's protocol with Unicode placeholders (kitty, Ghostty)
    Kitty,
    /// Sixel (foot, xterm, mlterm, Contour)
    Sixel,
    /// iTerm2's protocol (iTerm2, `WezTerm`, mintty)
    Iterm2,
    /// Letters and punctuation
    Ascii,
}

impl Choice {
    /// The protocol for pixels, if there are to be any. Sixel and iTerm2 images cover what is next to them if a cell's size
    /// is only guessed, so that needs a person's word.
    pub(super) fn protocol(self, variable: impl Fn(&str) -> Option<String>, cell_known: bool) -> Option<Protocol> {
        match self {
            Self::HalfBlocks | Self::Ascii => None,
            Self::Kitty => Some(Protocol::Kitty),
            Self::Sixel => Some(Protocol::Sixel),
            Self::Iterm2 => Some(Protocol::Iterm2),
            Self::Auto => detect(variable).filter(|_| cell_known),
        }
    }
}

/// What the environment tells of the terminal. Multiplexers come first: they hide the terminal, whose variables may be stale.
fn detect(variable: impl Fn(&str) -> Option<String>) -> Option<Protocol> {
    let get = |name| variable(name).filter(|value| !value.is_empty());
    let term = get("TERM").unwrap_or_default();
    let multiplexed = ["TMUX", "STY", "ZELLIJ"].into_iter().any(|name| get(name).is_some());
    if multiplexed || term.starts_with("screen") || term.starts_with("tmux") {
        return None;
    }
    match term.as_str() {
        "xterm-kitty" | "xterm-ghostty" => return Some(Protocol::Kitty),
        "foot" | "foot-direct" | "foot-extra" | "contour" | "mlterm" | "yaft-256color" => return Some(Protocol::Sixel),
        "wezterm" => return Some(Protocol::Iterm2),
        _ => {}
    }
    // iTerm2 sets the second so that ssh carries it along.
    match get("TERM_PROGRAM").or_else(|| get("LC_TERMINAL")).as_deref() {
        Some("kitty" | "ghostty") => Some(Protocol::Kitty),
        Some("iTerm.app" | "iTerm2" | "WezTerm" | "mintty" | "rio") => Some(Protocol::Iterm2),
        Some(_) => None,
        None => get("KITTY_WINDOW_ID").map(|_| Protocol::Kitty),
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Protocol};

    #[track_caller]
    fn check(environment: &[(&str, &str)], cell_known: bool, expected: Option<Protocol>) {
        let variable = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        assert_eq!(Choice::Auto.protocol(variable, cell_known), expected, "{environment:?}");
    }

    #[test]
    fn the_environment_tells_the_protocol() {
        check(&[("TERM", "xterm-kitty")], true, Some(Protocol::Kitty));
        check(&[("TERM", "xterm-256color"), ("KITTY_WINDOW_ID", "1")], true, Some(Protocol::Kitty));
        check(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "ghostty")], true, Some(Protocol::Kitty));
        check(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")], true, Some(Protocol::Iterm2));
        check(&[("TERM", "xterm-256color"), ("LC_TERMINAL", "iTerm2")], true, Some(Protocol::Iterm2));
        check(&[("TERM", "foot")], true, Some(Protocol::Sixel));
    }

    #[test]
    fn what_is_unsure_is_drawn_with_characters() {
        check(&[], true, None);
        check(&[("TERM", "xterm-256color")], true, None);
        check(&[("TERM", "xterm-kitty"), ("TMUX", "/tmp/tmux")], true, None);
        check(&[("TERM", "screen-256color"), ("KITTY_WINDOW_ID", "1")], true, None);
        check(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "vscode"), ("KITTY_WINDOW_ID", "1")], true, None);
        check(&[("TERM", "foot")], false, None);
    }

    #[test]
    fn a_person_knows_better() {
        let tmux = |name: &str| (name == "TMUX").then(|| "1".to_owned());
        assert_eq!(Choice::Sixel.protocol(tmux, false), Some(Protocol::Sixel));
        assert_eq!(Choice::HalfBlocks.protocol(tmux, true), None);
    }
}
