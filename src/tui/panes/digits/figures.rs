//! The figures beside a digit: verdict, bars by class, loss, doubts.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use crate::data::CLASSES;
use crate::state::DigitView;
use crate::tui::format::{loss, percent, shorten, width};
use crate::tui::panes::Context;
use crate::tui::theme::Theme;

/// Columns of a line with a probability, besides the class's name and the bar.
const BESIDE: usize = 10;

/// The lines, and how each looks.
pub fn lines(context: &Context, digit: &DigitView, columns: usize) -> Vec<(String, Style)> {
    let (theme, symbols) = (context.theme, context.theme.symbols());
    let wrong = digit.label.is_some_and(|label| label != digit.predicted);
    let label = digit.label.map_or_else(String::new, |label| format!(", label {}", context.class_name(label)));
    let verdict = if wrong { theme.bad } else { theme.good };
    let mut lines = vec![(format!("predicted {}{label}", context.class_name(digit.predicted)), verdict)];
    // Names where they leave room for the bars.
    let names: [String; CLASSES] = std::array::from_fn(|class| context.class_name(class as u8));
    let longest = names.iter().map(|name| width(name)).max().unwrap_or(1);
    let longest = if longest + BESIDE + 10 <= columns { longest } else { 1 };
    for (class, name) in names.iter().enumerate() {
        let probability = f64::from(digit.probabilities[class]);
        let room = columns.saturating_sub(longest + BESIDE).min(40);
        let bar = symbols.full.repeat((probability.clamp(0.0, 1.0) * room as f64).round() as usize);
        let style = if class == usize::from(digit.predicted) { verdict } else { theme.dim };
        let name = shorten(name, longest, "");
        lines.push((format!("{name:<longest$} {:>8} {bar}", percent(probability)), style));
    }
    lines.extend(digit.loss.map(|value| (format!("loss {}", loss(value.into())), theme.text)));
    lines.extend(digit.doubtful.then(|| ("label in doubt".into(), theme.warning)));
    lines.extend(digit.preprocess.clone().map(|text| (text, theme.dim)));
    lines
}

/// What the digit was taken for after each epoch: one cell each, wrong ones underlined; where there are too many, the last ones.
pub fn past<'a>(theme: &Theme, digit: &DigitView, columns: usize) -> Line<'a> {
    let Some((first, _)) = digit.past.first() else { return Line::default() };
    let heads = [format!("epoch {first} on "), format!("e{first} ")];
    let fits = |head: &String| width(head) + digit.past.len() <= columns;
    let head = heads.into_iter().find(fits);
    let room = columns.saturating_sub(head.as_ref().map_or(1, |head| width(head)));
    let shown = &digit.past[digit.past.len().saturating_sub(room)..];
    // Without room for all, a sign says that there are earlier ones.
    let head = head.unwrap_or_else(|| theme.symbols().ellipsis.to_owned());
    let mut spans = vec![Span::styled(head, theme.dim)];
    for (_, class) in shown {
        let style = match digit.label {
            Some(label) if label == *class => theme.good,
            Some(_) => theme.bad.add_modifier(Modifier::UNDERLINED),
            None => theme.text,
        };
        spans.push(Span::styled(class.to_string(), style));
    }
    Line::from(spans)
}
