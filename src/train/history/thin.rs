//! Fewer records of a long run, whose peaks stay.

use super::Blocks;

/// At most half of `most` records, the oldest and the newest among them: of every span of equally many steps the one of the
/// smallest `value` and the one of the largest. So the curve stays as even as it was, however often it is thinned, and
/// what came since the last time is thinned as much as what lies long back.
pub fn thinned<T: Clone>(
    records: &Blocks<T>,
    most: usize,
    step: impl Fn(&T) -> u64,
    value: impl Fn(&T) -> f32,
) -> Blocks<T> {
    let all: Vec<&T> = records.iter().collect();
    let [first, inner @ .., last] = &all[..] else { return records.clone() };
    // Two of each span, and two at the ends.
    let spans = (most / 4).saturating_sub(2).max(1) as u64;
    let length = (step(last) - step(first)) / spans + 1;
    let span = |record: &&T| (step(record) - step(first)) / length;
    let mut kept: Blocks<T> = [(*first).clone()].into_iter().collect();
    for records in inner.chunk_by(|a, b| span(a) == span(b)) {
        let places = 0..records.len();
        let by_value = |a: &usize, b: &usize| value(records[*a]).total_cmp(&value(records[*b]));
        let ends = [places.clone().min_by(by_value), places.max_by(by_value)];
        let [lowest, highest] = ends.map(Option::unwrap_or_default);
        kept.push(records[lowest.min(highest)].clone());
        if lowest != highest {
            kept.push(records[lowest.max(highest)].clone());
        }
    }
    kept.push((*last).clone());
    kept
}
