//! Which part of the horizontal axis a chart shows, and in which of its columns each place stands.

/// A range of places of the axis, first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The place at the left edge.
    pub first: u64,
    /// The place at the right edge; larger than the first.
    pub last: u64,
}

impl Window {
    /// The window on a run that takes so many places, halved `zoom` times but no shorter than `shortest`: around `cursor`, or
    /// at the end of the run.
    ///
    /// It ends at a round number and moves by half its length, so that while the run goes on the curves grow into a
    /// picture that stands still, and few cells change.
    pub fn new(places: u64, zoom: u32, cursor: Option<u64>, shortest: u64) -> Self {
        let end = round_up(places);
        let length = (end >> zoom).max(shortest.min(end));
        let half = (length / 2).max(1);
        let first = match cursor {
            Some(cursor) => (cursor / half * half).saturating_sub(half / 2),
            None => places.saturating_sub(length).div_ceil(half) * half,
        };
        let first = first.min(end - length);
        Self { first, last: first + length }
    }

    /// Whether `place` is shown.
    pub fn contains(self, place: u64) -> bool {
        (self.first..=self.last).contains(&place)
    }

    /// The column of `place` in a chart of `columns`, each of `dots` dots; `None` if it is not shown.
    pub fn column(self, place: u64, columns: u16, dots: u16) -> Option<u16> {
        let across = f64::from(columns.saturating_mul(dots).saturating_sub(1));
        let share = place.checked_sub(self.first)? as f64 / (self.last - self.first) as f64;
        self.contains(place).then_some((share * across).round() as u16 / dots)
    }

    /// The place in the middle of `column`.
    pub fn place(self, column: u16, columns: u16) -> u64 {
        let share = (f64::from(column) + 0.5) / f64::from(columns.max(1));
        self.first + (share.min(1.0) * (self.last - self.first) as f64).round() as u64
    }
}

/// The end of an axis over so many places: up to an eighth more, so that a run seldom reaches it.
pub fn round_up(steps: u64) -> u64 {
    /// An axis grows from one of these to the next, in twentieths of a power of ten.
    const ENDS: [u64; 21] = [20, 22, 25, 28, 32, 36, 40, 45, 50, 56, 64, 72, 80, 90, 100, 112, 125, 140, 160, 180, 200];
    let power = 10u64.pow(steps.max(1).ilog10());
    let ends = ENDS.iter().map(|end| (power / 20).saturating_mul(*end));
    ends.chain([steps]).filter(|end| *end >= steps).find(|_| power >= 20).unwrap_or(steps).max(1)
}

#[cfg(test)]
mod tests {
    use super::{Window, round_up};

    #[test]
    fn the_end_is_round_and_near() {
        assert_eq!([0, 1, 7, 99, 101, 1710, 7500, 75_001].map(round_up), [1, 1, 7, 99, 110, 1800, 8000, 80_000]);
        assert_eq!([u64::MAX, u64::MAX / 2].map(|steps| round_up(steps) >= steps), [true; 2]);
    }

    #[test]
    fn columns_and_steps_are_each_others_inverse() {
        let window = Window::new(7500, 0, None, 20);
        assert_eq!(window, Window { first: 0, last: 8000 });
        for column in 0..50 {
            assert_eq!(window.column(window.place(column, 50), 50, 2), Some(column));
        }
        assert_eq!((window.column(8000, 50, 2), window.column(8001, 50, 2)), (Some(49), None));
        assert_eq!(window.column(3, 0, 2), Some(0));
    }

    #[test]
    fn a_closer_look_keeps_the_cursor_and_the_end_in_view() {
        for steps in [0, 1, 2, 19, 21, 750, 7500, 123_456] {
            for zoom in 0..20 {
                assert!(Window::new(steps, zoom, None, 20).contains(steps), "{steps} {zoom}");
                for cursor in (0..=steps).step_by(1 + steps as usize / 97) {
                    let window = Window::new(steps, zoom, Some(cursor), 20);
                    assert!(
                        window.contains(cursor) && window.first < window.last,
                        "{steps} {zoom} {cursor}: {window:?}"
                    );
                }
            }
        }
    }
}
