//! The GPU that a run uses: what it was seen to do, now and over the last minutes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Seconds that are looked back on.
const SPAN: u32 = 300;

/// One look at a GPU. What the driver does not tell is `None`. All figures are as round as they are shown, so that two
/// readings that look the same are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuReading {
    /// Share of the time in which it computed, in percent.
    pub utilisation: Option<u8>,
    /// Memory in MiB, that of other programs included.
    pub memory: Option<Part>,
    /// Of the chip, in °C.
    pub temperature: Option<u16>,
    /// Power in W, and the limit that is set for it.
    pub power: Option<Part>,
}

/// How much of something is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// So much.
    pub used: u32,
    /// Of so much; `None` if the driver does not tell.
    pub of: Option<u32>,
}

/// A reading and when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuSample {
    /// Whole seconds since the first look.
    pub seconds: u32,
    /// What was read.
    pub reading: GpuReading,
}

/// The readings of the last minutes, the newest last. Each holds until the next: what stays the same is not told again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuHistory(VecDeque<GpuSample>);

/// What of a reading is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuFigure {
    /// How busy it is.
    Utilisation,
    /// How full its memory is.
    Memory,
    /// How hot it is.
    Temperature,
    /// What it draws.
    Power,
}

impl GpuFigure {
    /// All, the most telling first.
    pub const ALL: [Self; 4] = [Self::Utilisation, Self::Memory, Self::Temperature, Self::Power];

    /// `87 %`, `2.1/80 GiB`, `61 °C`, `320 W`; `None` where the driver does not tell.
    pub fn text(self, reading: &GpuReading) -> Option<String> {
        Some(match self {
            Self::Utilisation => format!("{} %", reading.utilisation?),
            Self::Memory => {
                let Part { used, of } = reading.memory?;
                let of = of.map_or_else(String::new, |of| format!("/{}", gibibytes(of)));
                format!("{}{of} GiB", gibibytes(used))
            }
            Self::Temperature => format!("{} °C", reading.temperature?),
            Self::Power => format!("{} W", reading.power?.used),
        })
    }

    /// The same as a share of what is possible, 0 to 1: of all the time, all the memory, 100 °C, the limit of the power.
    pub fn share(self, reading: &GpuReading) -> Option<f64> {
        let of = |part: Part| part.of.filter(|of| *of > 0).map(|of| f64::from(part.used) / f64::from(of));
        let share = match self {
            Self::Utilisation => f64::from(reading.utilisation?) / 100.0,
            Self::Memory => of(reading.memory?)?,
            Self::Temperature => f64::from(reading.temperature?) / 100.0,
            Self::Power => of(reading.power?)?,
        };
        Some(share.clamp(0.0, 1.0))
    }
}

/// `0.4`, `2.1`, `80`: MiB in GiB, with a decimal where it says something.
fn gibibytes(mebibytes: u32) -> String {
    let value = f64::from(mebibytes) / 1024.0;
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

impl GpuHistory {
    /// Adds a sample and forgets those that are too old. One that is not newer than the last is another GPU's first.
    pub fn push(&mut self, sample: GpuSample) {
        if self.0.back().is_some_and(|last| last.seconds >= sample.seconds) {
            self.0.clear();
        }
        self.0.push_back(sample);
        let since = sample.seconds.saturating_sub(SPAN);
        // The last before the span still holds at its beginning.
        while self.0.get(1).is_some_and(|second| second.seconds <= since) {
            self.0.pop_front();
        }
    }

    /// The newest reading.
    pub fn newest(&self) -> Option<&GpuReading> {
        self.0.back().map(|sample| &sample.reading)
    }

    /// The samples, the oldest first.
    pub const fn samples(&self) -> &VecDeque<GpuSample> {
        &self.0
    }

    /// The means of `share` over equal stretches of time, at most `columns` and the last one now; what was not told is `None`.
    pub fn means(&self, columns: usize, share: impl Fn(&GpuReading) -> Option<f64>) -> Vec<Option<f64>> {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return Vec::new() };
        if columns == 0 {
            return Vec::new();
        }
        let begin = first.seconds.max(last.seconds.saturating_sub(SPAN));
        // Stretches begin at multiples of their length, so that they keep their mean while time goes on.
        let fits = |length: &u32| ((last.seconds / length) - (begin / length)) < columns as u32;
        let length = (1..=SPAN + 1).find(fits).unwrap_or(SPAN + 1);
        let mut means = Vec::new();
        let mut at = 0;
        for stretch in begin / length..=last.seconds / length {
            let (mut sum, mut told) = (0.0, 0);
            for second in (stretch * length).max(begin)..=(stretch * length + (length - 1)).min(last.seconds) {
                while self.0.get(at + 1).is_some_and(|next| next.seconds <= second) {
                    at += 1;
                }
                if let Some(value) = share(&self.0[at].reading) {
                    sum += value;
                    told += 1;
                }
            }
            means.push((told > 0).then(|| sum / f64::from(told)));
        }
        // Even one stretch for all may begin before a multiple and end after it.
        let surplus = means.len().saturating_sub(columns);
        means.split_off(surplus)
    }
}

#[cfg(test)]
mod tests {
    use super::{GpuFigure, GpuHistory, GpuReading, GpuSample, Part, SPAN};

    fn busy(seconds: u32, utilisation: u8) -> GpuSample {
        GpuSample { seconds, reading: GpuReading { utilisation: Some(utilisation), ..GpuReading::default() } }
    }

    fn history(samples: impl IntoIterator<Item = (u32, u8)>) -> GpuHistory {
        let mut history = GpuHistory::default();
        samples.into_iter().for_each(|(seconds, utilisation)| history.push(busy(seconds, utilisation)));
        history
    }

    #[track_caller]
    fn check(history: &GpuHistory, columns: usize, percent: &[i32]) {
        let means = history.means(columns, |reading| GpuFigure::Utilisation.share(reading));
        let means: Vec<i32> = means.iter().map(|mean| mean.map_or(-1, |mean| (mean * 100.0).round() as i32)).collect();
        assert_eq!(means, percent);
    }

    #[test]
    fn figures_read_well_and_are_left_out_where_they_are_not_told() {
        let reading = GpuReading {
            utilisation: Some(87),
            memory: Some(Part { used: 2150, of: Some(81_559) }),
            temperature: Some(61),
            power: Some(Part { used: 320, of: Some(700) }),
        };
        let texts = |reading: &GpuReading| GpuFigure::ALL.map(|figure| figure.text(reading).unwrap_or_default());
        assert_eq!(texts(&reading), ["87 %", "2.1/80 GiB", "61 °C", "320 W"]);
        assert_eq!(texts(&GpuReading::default()), ["", "", "", ""]);
        let without_limits = GpuReading {
            memory: Some(Part { used: 12_000, of: None }),
            power: Some(Part { used: 9, of: Some(0) }),
            ..reading
        };
        assert_eq!(texts(&without_limits), ["87 %", "12 GiB", "61 °C", "9 W"]);
        let shares = GpuFigure::ALL.map(|figure| figure.share(&without_limits));
        assert_eq!(shares, [Some(0.87), None, Some(0.61), None]);
    }

    #[test]
    fn a_reading_holds_until_the_next() {
        check(&history([(0, 10), (3, 50)]), 8, &[10, 10, 10, 50]);
        check(&history([(0, 10), (3, 50)]), 2, &[10, 30]);
        check(&history([(0, 10), (3, 50)]), 1, &[20]);
        check(&history([(7, 10)]), 3, &[10]);
        check(&history([]), 3, &[]);
        check(&history([(0, 10), (3, 50)]), 0, &[]);
        let mut untold = history([(0, 10)]);
        untold.push(GpuSample { seconds: 1, reading: GpuReading::default() });
        check(&untold, 3, &[10, -1]);
    }

    #[test]
    fn what_is_older_than_a_few_minutes_is_forgotten() {
        let long = history((0..5000).map(|second| (second, (second % 100) as u8)));
        assert_eq!(long.samples().len(), SPAN as usize + 1);
        assert!((1..400).all(|columns| long.means(columns, |_| Some(1.0)).len() <= columns));
        // A reading that held for hours is one sample, and looked back on for minutes alone.
        let still = history([(0, 10), (9000, 90)]);
        assert_eq!(still.samples().len(), 2);
        check(&still, 3, &[10, 10, 11]);
        assert_eq!(still.means(400, |_| Some(1.0)).len(), SPAN as usize + 1);
    }

    #[test]
    fn stretches_keep_their_mean_while_time_goes_on() {
        let samples = |until: u32| (0..until).map(|second| (second, (second * 37 % 100) as u8));
        let means = |until| history(samples(until)).means(20, |reading| GpuFigure::Utilisation.share(reading));
        assert_eq!(means(262)[..18], means(275)[..18]);
    }

    #[test]
    fn another_gpu_begins_anew() {
        assert_eq!(history([(0, 10), (9, 50), (0, 70)]), history([(0, 70)]));
    }
}
