//! What each key means, as data: dispatch, footer and help read the same table.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::panes::PaneId;

/// What a key can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// One to the left; of a setting: the next smaller value.
    Left,
    /// One to the right; of a setting: the next larger value.
    Right,
    /// To the beginning.
    Top,
    /// To the end.
    Bottom,
    /// One screenful up.
    PageUp,
    /// One screenful down.
    PageDown,
    /// Open or do what is selected.
    Enter,
    /// One layer out.
    Escape,
    /// The next pane.
    NextPane,
    /// The pane before.
    PreviousPane,
    /// This pane.
    Pane(PaneId),
    /// The focused pane over the whole screen, and back.
    Zoom,
    /// Hold, go on, or begin.
    PauseResume,
    /// One training step.
    Step,
    /// Train until the epochs are done.
    Train,
    /// Save the run.
    Save,
    /// The next misclassified digit.
    NextWrong,
    /// The one before.
    PreviousWrong,
    /// The next digit of the list.
    NextDigit,
    /// The one before.
    PreviousDigit,
    /// To the augmentation studio; in it, other draws.
    Augment,
    /// To the shown digit through all corruptions.
    Corrupt,
    /// The digits of the list, many at a time.
    Gallery,
    /// To the search of settings, or back to the curves.
    Search,
    /// Draw a digit.
    Draw,
    /// Put the pen down, or lift it.
    Pen,
    /// The same with the eraser.
    Eraser,
    /// Take the last stroke back.
    Undo,
    /// Take all strokes away.
    Clear,
    /// Save the drawing as a file.
    SaveDrawing,
    /// Keep the drawing with its label.
    Keep,
    /// Why a digit is taken for what it is.
    Explain,
    /// The training digits that look like a digit to the network.
    Nearest,
    /// The next page of the explanation.
    NextPage,
    /// The page before.
    PreviousPage,
    /// Another scale of the pane: log or linear, counts or shares.
    Scale,
    /// The digits that were known and are not any more.
    Forgotten,
    /// Another horizontal axis: epochs, steps or time.
    Across,
    /// Another range of the axis: with or without outliers.
    Range,
    /// More or less smoothing.
    Smoothing,
    /// Another source of the pane: training, validation, test.
    Source,
    /// A smaller window of the curve.
    ZoomIn,
    /// A larger one.
    ZoomOut,
    /// To the end of the epoch before.
    PreviousEpoch,
    /// To the end of the next epoch.
    NextEpoch,
    /// Back in time to what the cursor is on.
    Rewind,
    /// To the command line.
    Command,
    /// To the command line, to find digits.
    Find,
    /// The next stop of the tour.
    NextStop,
    /// Explain the pane and the keys.
    Help,
    /// Save and leave.
    Quit,
    /// Leave, whatever is open.
    Interrupt,
    /// Give the terminal back until `fg`.
    Suspend,
    /// Draw every cell anew.
    Redraw,
}

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere but where text is typed.
    Everywhere,
    /// In one pane; looked up before `Everywhere`.
    Pane(PaneId),
    /// In the augmentation studio, which takes the digits pane; looked up before the pane's own.
    Studio,
    /// In the digits pane while it shows the corruptions; the same.
    Corruptions,
    /// While a digit is drawn; looked up before its pane.
    Canvas,
    /// In the curves pane while it shows the search; looked up before the pane's own.
    Search,
    /// Even where text is typed and in front of every pane.
    Always,
}

/// Keys with one meaning.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Their names, the one to show first: `Space`, `g`, `Ctrl-c`, `S-Tab`.
    pub keys: &'static [&'static str],
    /// What they stand for.
    pub action: Action,
    /// Where.
    pub scope: Scope,
    /// What they do, for the help.
    pub does: &'static str,
    /// A word for the footer, if it is to stand there.
    pub hint: Option<&'static str>,
}

const fn bind(scope: Scope, keys: &'static [&'static str], action: Action, does: &'static str) -> Binding {
    Binding { keys, action, scope, does, hint: None }
}

impl Binding {
    const fn hint(mut self, word: &'static str) -> Self {
        self.hint = Some(word);
        self
    }
}

use Scope::{Always, Canvas, Corruptions, Everywhere, Search, Studio};

const CHARTS: Scope = Scope::Pane(PaneId::Charts);
const CONFUSION: Scope = Scope::Pane(PaneId::Confusion);
const DIGITS: Scope = Scope::Pane(PaneId::Digits);
const SETTINGS: Scope = Scope::Pane(PaneId::Settings);

/// All keys, the more important first.
pub const BINDINGS: &[Binding] = &[
    bind(Everywhere, &["Space"], Action::PauseResume, "train, pause, go on").hint("pause"),
    bind(Everywhere, &["s"], Action::Step, "one training step").hint("step"),
    bind(Everywhere, &["e"], Action::NextWrong, "the next misclassified digit").hint("errors"),
    bind(Everywhere, &["E"], Action::PreviousWrong, "the one before"),
    bind(Everywhere, &["a"], Action::Augment, "the augmentation studio").hint("augment"),
    bind(Everywhere, &["d"], Action::Draw, "draw a digit for the network"),
    bind(Everywhere, &["T"], Action::Search, "search of settings, and back"),
    bind(Everywhere, &[":"], Action::Command, "to the command line").hint("command"),
    bind(Everywhere, &["?", "F1"], Action::Help, "explain this pane and the keys").hint("help"),
    bind(Everywhere, &["q"], Action::Quit, "save and leave").hint("quit"),
    bind(Everywhere, &["t"], Action::Train, "train to the run's end"),
    bind(Everywhere, &["S"], Action::Save, "save the run"),
    bind(Everywhere, &["/"], Action::Find, "find digits: true=4 pred=9"),
    bind(Everywhere, &["z", "F2"], Action::Zoom, "zoom the pane, and back"),
    bind(Everywhere, &["Tab"], Action::NextPane, "the next pane"),
    bind(Everywhere, &["S-Tab"], Action::PreviousPane, "the pane before"),
    bind(Everywhere, &["1"], Action::Pane(PaneId::Charts), "the curves"),
    bind(Everywhere, &["2"], Action::Pane(PaneId::Confusion), "the confusion matrix"),
    bind(Everywhere, &["3"], Action::Pane(PaneId::Settings), "the settings"),
    bind(Everywhere, &["4"], Action::Pane(PaneId::Digits), "the digits"),
    bind(Everywhere, &["5"], Action::Pane(PaneId::CommandLine), "the command line"),
    bind(Everywhere, &["6"], Action::Pane(PaneId::Log), "the log"),
    bind(CHARTS, &["Left", "h"], Action::Left, "cursor: back along the steps").hint("cursor"),
    bind(CHARTS, &["Right", "l"], Action::Right, "cursor: on along the steps"),
    bind(CHARTS, &["Home", "g", "S-Left"], Action::Top, "cursor to the first step"),
    bind(CHARTS, &["End", "G", "S-Right"], Action::Bottom, "cursor away: the newest step"),
    bind(CHARTS, &["Esc"], Action::Escape, "cursor away"),
    bind(CHARTS, &["["], Action::PreviousEpoch, "cursor: the epoch's end before").hint("epoch"),
    bind(CHARTS, &["]"], Action::NextEpoch, "cursor: the next epoch's end"),
    bind(CHARTS, &["r"], Action::Rewind, "rewind to the cursor's epoch").hint("rewind"),
    bind(CHARTS, &["+", "="], Action::ZoomIn, "look closer").hint("closer"),
    bind(CHARTS, &["-"], Action::ZoomOut, "see more"),
    bind(CHARTS, &["m"], Action::NextPage, "learning, layers or weights").hint("view"),
    bind(CHARTS, &["w"], Action::Smoothing, "more or less smoothing").hint("smooth"),
    bind(CHARTS, &["x"], Action::Across, "across: epochs, steps or time").hint("across"),
    bind(CHARTS, &["y"], Action::Scale, "log or linear axis").hint("axis"),
    bind(CHARTS, &["i"], Action::Range, "with or without outliers").hint("range"),
    bind(Search, &["Enter"], Action::Enter, "open the trial as a session").hint("open"),
    bind(Search, &["m"], Action::NextPage, "the table or the lines, where room is short").hint("view"),
    bind(Search, &["Esc"], Action::Escape, "back to the curves").hint("curves"),
    bind(CONFUSION, &["v"], Action::Source, "training, validation or test").hint("split"),
    bind(CONFUSION, &["y"], Action::Scale, "counts or shares of the row").hint("scale"),
    bind(CONFUSION, &["m"], Action::NextPage, "matrix, classes or calibration").hint("view"),
    bind(CONFUSION, &["Enter"], Action::Enter, "show these digits").hint("digits"),
    bind(DIGITS, &["n", "Right", "l"], Action::NextDigit, "the next digit of the list").hint("next"),
    bind(DIGITS, &["p", "Left", "h"], Action::PreviousDigit, "the digit before").hint("prev"),
    bind(DIGITS, &["o"], Action::Gallery, "the list as a gallery").hint("gallery"),
    bind(DIGITS, &["f"], Action::Forgotten, "the most often forgotten").hint("forgotten"),
    bind(DIGITS, &["x"], Action::Explain, "explain this digit").hint("explain"),
    bind(DIGITS, &["c"], Action::Corrupt, "this digit, corrupted").hint("corrupt"),
    bind(DIGITS, &["d"], Action::Draw, "draw a digit").hint("draw"),
    bind(DIGITS, &["v"], Action::Nearest, "its like among training digits").hint("nearest"),
    bind(DIGITS, &["m"], Action::NextPage, "the explanation's next page").hint("more"),
    bind(DIGITS, &["M"], Action::PreviousPage, "the page before"),
    bind(Studio, &["Right", "l"], Action::Right, "turn the value up").hint("turn"),
    bind(Studio, &["Left", "h"], Action::Left, "turn it down"),
    bind(Studio, &["Enter"], Action::Enter, "apply it to the run").hint("apply"),
    bind(Studio, &["Esc"], Action::Escape, "leave the run as it was").hint("leave"),
    bind(Studio, &["n"], Action::NextDigit, "another digit").hint("digit"),
    bind(Studio, &["p"], Action::PreviousDigit, "the digit before"),
    bind(Studio, &["a"], Action::Augment, "other draws").hint("draws"),
    bind(Studio, &["c"], Action::Corrupt, "the corruptions").hint("corrupt"),
    bind(Corruptions, &["Right", "l", "+"], Action::Right, "more severe").hint("severity"),
    bind(Corruptions, &["Left", "h", "-"], Action::Left, "less severe"),
    bind(Corruptions, &["Enter"], Action::Enter, "measure the test set").hint("measure all"),
    bind(Corruptions, &["Esc"], Action::Escape, "back to the digit").hint("leave"),
    bind(Corruptions, &["n"], Action::NextDigit, "the next digit of the list").hint("digit"),
    bind(Corruptions, &["p"], Action::PreviousDigit, "the digit before"),
    bind(Corruptions, &["a"], Action::Augment, "the augmentation studio").hint("augment"),
    bind(Canvas, &["Enter"], Action::Pen, "pen down, pen up").hint("pen"),
    bind(Canvas, &["Left", "h"], Action::Left, "move the cursor; it draws if the pen is down"),
    bind(Canvas, &["Right", "l"], Action::Right, "to the right"),
    bind(Canvas, &["Up", "k"], Action::Up, "up"),
    bind(Canvas, &["Down", "j"], Action::Down, "down"),
    bind(Canvas, &["x"], Action::Eraser, "eraser down, up").hint("erase"),
    bind(Canvas, &["u"], Action::Undo, "take the last stroke back").hint("undo"),
    bind(Canvas, &["c"], Action::Clear, "clear the paper").hint("clear"),
    bind(Canvas, &["+"], Action::Keep, "keep it among your drawings, then its digit").hint("keep"),
    bind(Canvas, &["w"], Action::SaveDrawing, "write it to a PNG file").hint("save"),
    bind(Canvas, &["Esc"], Action::Escape, "leave; the drawing stays").hint("leave"),
    bind(SETTINGS, &["Left", "h"], Action::Left, "the next smaller value"),
    bind(SETTINGS, &["Right", "l"], Action::Right, "the next larger value").hint("change"),
    bind(SETTINGS, &["Enter"], Action::Enter, "type a value").hint("type"),
    bind(Everywhere, &["Up", "k"], Action::Up, "up"),
    bind(Everywhere, &["Down", "j"], Action::Down, "down"),
    bind(Everywhere, &["Left", "h"], Action::Left, "left"),
    bind(Everywhere, &["Right", "l"], Action::Right, "right"),
    bind(Everywhere, &["g", "Home"], Action::Top, "to the beginning"),
    bind(Everywhere, &["G", "End"], Action::Bottom, "to the end"),
    bind(Everywhere, &["PgUp", "Ctrl-b"], Action::PageUp, "a page up"),
    bind(Everywhere, &["PgDn", "Ctrl-f"], Action::PageDown, "a page down"),
    bind(Everywhere, &["N"], Action::NextStop, "the next stop of the tour"),
    bind(Everywhere, &["Enter"], Action::Enter, "open what is selected"),
    bind(Everywhere, &["Esc"], Action::Escape, "one layer out"),
    bind(Always, &["Ctrl-c"], Action::Interrupt, "save and leave; twice: at once"),
    bind(Always, &["Ctrl-z"], Action::Suspend, "suspend; `fg` comes back"),
    bind(Always, &["Ctrl-l"], Action::Redraw, "draw the screen anew"),
];

/// What `key` means in `pane`.
pub fn action(key: KeyEvent, pane: PaneId) -> Option<Action> {
    [Always, Scope::Pane(pane), Everywhere].into_iter().find_map(|scope| look_up(key, scope))
}

/// What `key` means whatever else goes on.
pub fn always(key: KeyEvent) -> Option<Action> {
    look_up(key, Always)
}

/// What `key` means in `scope` alone.
pub fn look_up(key: KeyEvent, scope: Scope) -> Option<Action> {
    let name = name(key);
    let fits = |binding: &&Binding| binding.scope == scope && binding.keys.contains(&name.as_str());
    BINDINGS.iter().find(fits).map(|binding| binding.action)
}

/// The key's name as the table writes it.
fn name(key: KeyEvent) -> String {
    let name = match key.code {
        KeyCode::Char(' ') => "Space".to_owned(),
        KeyCode::Char(c) => c.to_string(),
        KeyCode::PageUp => "PgUp".to_owned(),
        KeyCode::PageDown => "PgDn".to_owned(),
        KeyCode::BackTab => "S-Tab".to_owned(),
        KeyCode::F(number) => format!("F{number}"),
        KeyCode::Left | KeyCode::Right if key.modifiers.contains(KeyModifiers::SHIFT) => format!("S-{:?}", key.code),
        code => format!("{code:?}"),
    };
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        format!("Ctrl-{}", name.to_lowercase())
    } else if key.modifiers.contains(KeyModifiers::ALT) {
        format!("Alt-{name}")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, BINDINGS, Scope, action};
    use crate::tui::panes::PaneId;
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    #[track_caller]
    fn check(code: KeyCode, modifiers: KeyModifiers, pane: PaneId, expected: Option<Action>) {
        assert_eq!(action(KeyEvent::new(code, modifiers), pane), expected);
    }

    #[test]
    fn keys_mean_what_the_table_says() {
        let none = KeyModifiers::NONE;
        check(KeyCode::Char(' '), none, PaneId::Charts, Some(Action::PauseResume));
        check(KeyCode::Char('E'), KeyModifiers::SHIFT, PaneId::Charts, Some(Action::PreviousWrong));
        check(KeyCode::Char('l'), none, PaneId::Charts, Some(Action::Right));
        check(KeyCode::Left, KeyModifiers::SHIFT, PaneId::Charts, Some(Action::Top));
        check(KeyCode::Char('l'), none, PaneId::Digits, Some(Action::NextDigit));
        check(KeyCode::Char('c'), KeyModifiers::CONTROL, PaneId::CommandLine, Some(Action::Interrupt));
        check(KeyCode::BackTab, KeyModifiers::SHIFT, PaneId::Log, Some(Action::PreviousPane));
        check(KeyCode::Char('y'), none, PaneId::Log, None);
    }

    #[test]
    fn no_key_has_two_meanings_in_a_scope() {
        let mut seen: Vec<(Scope, &str)> = Vec::new();
        for binding in BINDINGS {
            for key in binding.keys {
                assert!(!seen.contains(&(binding.scope, key)), "{key} twice in {:?}", binding.scope);
                seen.push((binding.scope, key));
            }
        }
    }
}
