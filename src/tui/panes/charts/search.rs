//! The search in the place of the curves: its trials, the best first, and which settings they had.
//!
//! ```text
//!     # val acc  val loss  epochs  units      lr  dropout       │ the table, which sorts itself while trials run
//!  ▸  7 98.91 %    0.0391       5     96  0.0018      0.2       │
//!     2 98.64 %    0.0455   2.4/5     64   0.001      0.3  runs │
//!   units      lr     dropout  val acc                          │ parallel coordinates: an axis for each setting, a line
//!    4 %      62 %      0 %                                     │ for each trial, under each name what it explains
//!   ⢸⠉⠑⠢⢄⡀⢸  ⡠⠊⠉⢸⠉⠉⠉⠉⢸
//! ```

mod coordinates;
mod table;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::command::{Command, OfSearch};
use crate::search::{Row, SearchPhase, SearchState};
use crate::state::LabState;
use crate::tui::format::percent;
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::panes::Context;
use crate::tune::trial::Trial;

/// What the search shows and how to read it.
pub const HELP: &str = "The search of settings (`tune`): its trials, the best by the validation split first, sorted anew whenever an epoch ends; \
     those that run show the epochs that are done. Enter opens the selected trial as a session, in the place of the run, which is \
     saved first. Below the table each setting has an axis and each trial a line through its values, to its score on the right: \
     the best in green, the upper third bright, the selected one marked. Under each setting stands the share of the trials' \
     variance that it explains by itself (epsilon squared of a one-way analysis of variance, numbers divided into four groups \
     by rank; all trials compared after the same epoch). It is told from six trials on, and knows nothing of settings that \
     matter only together. `m` turns between table and lines where there is no room for both. `tune off` leaves the search, \
     `tune` goes on with it; Esc shows the curves again, `T` the search.";

/// From this height on both are shown.
const BOTH: u16 = 20;

/// What is looked at of the search.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The trial that keys act on; the best if none was chosen.
    selected: Option<u32>,
    page: Page,
}

/// What is shown where there is no room for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Page {
    #[default]
    Table,
    Lines,
}

impl Search {
    /// What stands on the frame.
    pub fn title(lab: &LabState) -> String {
        let Some(search) = &lab.search else { return "search: `tune --trials 20` begins one".into() };
        let done = search.trials.iter().filter(|trial| !search.running.contains_key(&trial.number)).count();
        let best = search.best().and_then(Trial::score);
        let best = best.map_or_else(String::new, |score| format!(", best {}", percent(score.accuracy)));
        let phase = match &search.phase {
            SearchPhase::Searching => "",
            SearchPhase::Done => ", done",
            SearchPhase::Stopped => ", stopped",
            SearchPhase::Failed(_) => ", failed",
        };
        format!("search {}: {} {done}/{}{phase}{best}", search.name, search.study.algorithm, search.study.trials())
    }

    /// Draws it into `area`.
    pub fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let Some(search) = &context.lab.search else {
            let text = "`tune --trials 20` searches settings and layers";
            buffer.set_stringn(area.x, area.y, text, usize::from(area.width), context.theme.dim);
            return;
        };
        let rows = search.rows();
        let selected = self.index(&rows);
        let [upper, lower] = self.parts(area);
        table::render(context, search, &rows, selected, upper, buffer);
        coordinates::render(context, search, &rows, selected, lower, buffer);
    }

    /// Where the table is and where the lines are.
    fn parts(&self, area: Rect) -> [Rect; 2] {
        let nothing = Rect { height: 0, ..area };
        match self.page {
            _ if area.height >= BOTH => Layout::vertical([Constraint::Fill(1); 2]).spacing(1).areas(area),
            Page::Table => [area, nothing],
            Page::Lines => [nothing, area],
        }
    }

    /// Which row is selected.
    fn index(&self, rows: &[Row]) -> usize {
        rows.iter().position(|row| Some(row.number) == self.selected).unwrap_or(0)
    }

    /// What a key does; `None` if it means nothing here.
    pub fn handle(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        let rows = lab.search.as_deref().map(SearchState::rows).unwrap_or_default();
        let (at, last) = (self.index(&rows), rows.len().saturating_sub(1));
        let to = match action {
            Action::Up => at.saturating_sub(1),
            Action::Down => at + 1,
            Action::PageUp => at.saturating_sub(10),
            Action::PageDown => at + 10,
            Action::Top => 0,
            Action::Bottom => last,
            Action::NextPage => {
                self.page = if self.page == Page::Table { Page::Lines } else { Page::Table };
                at
            }
            Action::Enter => {
                let open = |row: &Row| Command::Tune {
                    what: Some(OfSearch::Open(row.number)),
                    epochs: None,
                    args: <_>::default(),
                };
                return Some(rows.get(at).map(open).map_or_else(Vec::new, Effect::ask));
            }
            _ => return None,
        };
        self.selected = rows.get(to.min(last)).map(|row| row.number);
        Some(Vec::new())
    }
}
