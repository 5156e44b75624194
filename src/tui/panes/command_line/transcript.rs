//! What was asked and what was answered.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::tui::format::wrap;
use crate::tui::theme::Theme;

/// How many entries are kept.
const ENTRIES: usize = 200;

/// The lines that were run, with their answers, the newest last.
#[derive(Debug, Default)]
pub struct Transcript {
    entries: Vec<Entry>,
    /// Entries that were dropped: the number of the first that is left.
    dropped: usize,
    /// What was typed, for recalling; without repetitions.
    lines: Vec<String>,
    /// How many lines lie below the last that is shown.
    back: usize,
    /// Columns and lines that there is room for.
    room: [usize; 2],
}

#[derive(Debug)]
struct Entry {
    line: String,
    /// Missing while the lab works on it.
    answer: Option<Result<String, String>>,
}

impl Transcript {
    /// Takes down a line; its answer follows under the number returned.
    pub fn ask(&mut self, line: &str) -> usize {
        let line = line.trim().to_owned();
        self.lines.retain(|earlier| *earlier != line);
        self.lines.push(line.clone());
        self.entries.push(Entry { line, answer: None });
        if self.entries.len() > ENTRIES {
            self.entries.remove(0);
            self.dropped += 1;
        }
        self.back = 0;
        self.dropped + self.entries.len() - 1
    }

    /// The answer to entry `number`, if it is still there.
    pub fn answer(&mut self, number: usize, answer: Result<String, String>) {
        if let Some(entry) = number.checked_sub(self.dropped).and_then(|number| self.entries.get_mut(number)) {
            entry.answer = Some(answer);
            self.scroll(0);
        }
    }

    /// What was typed, the newest last.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// How many lines lie below the last that is shown.
    pub fn back(&self) -> usize {
        self.back
    }

    /// Scrolls so many lines up, at most until the first stands at the top.
    pub fn scroll(&mut self, lines: isize) {
        let [columns, height] = self.room;
        let all = self.entries.iter().map(|entry| entry.height(columns)).sum::<usize>();
        self.back = self.back.saturating_add_signed(lines).min(all.saturating_sub(height));
    }

    /// It is shown in so many columns and lines.
    pub fn fit(&mut self, columns: usize, height: usize) {
        if self.room != [columns, height] {
            self.room = [columns, height];
            self.scroll(0);
        }
    }

    /// Lines that it takes in `columns`, `most` at most.
    pub fn height(&self, columns: usize, most: usize) -> usize {
        let mut height = 0;
        for entry in self.entries.iter().rev() {
            height += entry.height(columns);
            if height >= most {
                return most;
            }
        }
        height
    }

    /// Draws the end of it, or what lies above, at the bottom of `area`.
    pub fn render(&self, theme: &Theme, area: Rect, buffer: &mut Buffer) {
        let height = usize::from(area.height);
        let mut lines: Vec<Line> = Vec::new();
        for entry in self.entries.iter().rev() {
            lines.extend(entry.lines(theme, usize::from(area.width)).into_iter().rev());
            if lines.len() >= self.back + height {
                break;
            }
        }
        let back = self.back.min(lines.len().saturating_sub(height));
        let shown: Vec<Line> = lines.into_iter().skip(back).take(height).collect();
        let top = area.height - shown.len() as u16;
        for (row, line) in area.rows().skip(usize::from(top)).zip(shown.iter().rev()) {
            line.render(row, buffer);
        }
    }
}

impl Entry {
    /// Lines that it takes.
    fn height(&self, columns: usize) -> usize {
        1 + self.answer_lines(columns).len()
    }

    fn answer_lines(&self, columns: usize) -> Vec<String> {
        let text = match &self.answer {
            None => "working ...",
            Some(Ok(text) | Err(text)) => text,
        };
        wrap(text, columns.saturating_sub(2))
    }

    fn lines<'a>(&'a self, theme: &'a Theme, columns: usize) -> Vec<Line<'a>> {
        let style = match &self.answer {
            None => theme.dim,
            Some(Ok(_)) => theme.text,
            Some(Err(_)) => theme.bad,
        };
        let asked = Line::from(vec![Span::styled("> ", theme.dim), Span::styled(self.line.as_str(), theme.title)]);
        let answer = self.answer_lines(columns);
        std::iter::once(asked).chain(answer.into_iter().map(|line| Line::styled(format!("  {line}"), style))).collect()
    }
}
