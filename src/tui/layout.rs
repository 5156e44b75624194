//! Where everything is: a pure function of the screen's size, so that drawing and the mouse agree.
//!
//! ```text
//!  full (from 110×32)                         tabs (from 60×18)
//! ┌ status ──────────────────────────────┐   ┌ status ───────────────┐
//! │ curves             │ confusion       │   │ 1 curves 2 confusion …│
//! ├───────────────┬────┴─────────────────┤   ├───────────────────────┤
//! │ settings      │ digits               │   │                       │
//! ├───────────────┴──────┬───────────────┤   │ the focused pane      │
//! │ command              │ log           │   │                       │
//! └ footer ──────────────┴───────────────┘   └ footer ───────────────┘
//! ```

use ratatui::layout::{Constraint, Layout, Position, Rect, Size};

use super::panes::PaneId;

/// From this size on, all panes are shown at once.
const FULL: Size = Size::new(110, 32);
/// The smallest size that can be worked with.
pub const SMALLEST: Size = Size::new(60, 18);

/// The parts of the screen and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Too small: the whole of it says so.
    TooSmall,
    /// What can be worked with.
    Parts(Parts),
}

/// Where the parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The first line.
    pub status: Rect,
    /// The line with the panes' names, where one pane is shown at a time.
    pub tabs: Option<Rect>,
    /// The panes that are shown, with their frames.
    pub panes: Vec<(PaneId, Rect)>,
    /// The last line.
    pub footer: Rect,
}

impl Parts {
    /// The pane at `position`, and its area.
    pub fn pane_at(&self, position: Position) -> Option<(PaneId, Rect)> {
        self.panes.iter().copied().find(|(_, area)| area.contains(position))
    }
}

/// Divides a screen of `size`, with the focus on `focus`, which fills the screen if it is `zoomed`.
pub fn divide(size: Size, focus: PaneId, zoomed: bool) -> Screen {
    let whole = Rect::new(0, 0, size.width, size.height);
    if size.width < SMALLEST.width || size.height < SMALLEST.height {
        return Screen::TooSmall;
    }
    let full = size.width >= FULL.width && size.height >= FULL.height;
    let tab_lines = u16::from(!full || zoomed);
    let [status, tabs, middle, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(tab_lines),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(whole);
    let panes = if full && !zoomed { all(middle) } else { vec![(focus, middle)] };
    Screen::Parts(Parts { status, tabs: (tab_lines > 0).then_some(tabs), panes, footer })
}

/// All panes at once.
fn all(area: Rect) -> Vec<(PaneId, Rect)> {
    let bottom = (area.height / 5).clamp(6, 16);
    let above = area.height - bottom;
    // A digit of 14 lines with frame and caption, and a matrix of 11 with its frame, want to be seen whole; on large screens the digit
    // at twice its size.
    let twice = 31;
    let digits = if above >= twice + 17 { twice } else { (above / 2).max(17).min(above.saturating_sub(13)) };
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(digits), Constraint::Length(bottom)]).areas(area);
    let row = |area: Rect, right: u16| -> [Rect; 2] {
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(right)]).areas(area)
    };
    let [charts, confusion] = row(top, (area.width * 2 / 5).clamp(46, 84));
    let [settings, digits] = row(middle, area.width - (area.width * 2 / 5).clamp(46, 64));
    let [command, log] = row(bottom, area.width * 2 / 5);
    vec![
        (PaneId::Charts, charts),
        (PaneId::Confusion, confusion),
        (PaneId::Settings, settings),
        (PaneId::Digits, digits),
        (PaneId::CommandLine, command),
        (PaneId::Log, log),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Screen, divide};
    use crate::tui::panes::PaneId;
    use ratatui::layout::{Rect, Size};

    /// The panes shown must fill the screen between the lines, without overlap.
    #[track_caller]
    fn check(width: u16, height: u16, zoomed: bool, panes: usize) {
        let Screen::Parts(parts) = divide(Size { width, height }, PaneId::Digits, zoomed) else {
            panic!("{width}×{height} is too small");
        };
        assert_eq!(parts.panes.len(), panes);
        let mut covered: u32 = parts.panes.iter().map(|(_, area)| area.area()).sum();
        covered += parts.status.area() + parts.footer.area() + parts.tabs.map_or(0, Rect::area);
        assert_eq!(covered, u32::from(width) * u32::from(height));
        for (i, (_, a)) in parts.panes.iter().enumerate() {
            assert!(a.height >= 6 && a.width >= 40, "{a:?}");
            assert!(parts.panes[i + 1..].iter().all(|(_, b)| !a.intersects(*b)));
        }
    }

    #[test]
    fn panes_share_the_screen() {
        for (width, height) in [(110, 32), (120, 40), (200, 50), (250, 70), (500, 200)] {
            check(width, height, false, 6);
            check(width, height, true, 1);
        }
        check(80, 24, false, 1);
        check(60, 18, false, 1);
        check(109, 100, false, 1);
        assert!(matches!(divide(Size::new(59, 30), PaneId::Charts, false), Screen::TooSmall));
        assert!(matches!(divide(Size::new(90, 17), PaneId::Charts, true), Screen::TooSmall));
    }
}
