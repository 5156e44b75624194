//! Random erasing (Zhong et al. 2020): a rectangle of random grey values in place of a part of the image.

use super::super::{Image, PIXELS, SIDE};
use crate::random::Stream;

/// Erases a rectangle of 2 to 20 % of the area (the paper's 40 % can hide a whole digit), its sides 0.3 to 3.3 to one.
pub fn erase(stream: &mut Stream, image: &mut Image) {
    let area = stream.uniform(0.02, 0.2) * PIXELS as f32;
    let aspect = stream.uniform(0.3f32.ln(), 3.3f32.ln()).exp();
    let [height, width] = [area * aspect, area / aspect].map(|square| (square.sqrt().round() as usize).clamp(1, SIDE));
    let [top, left] = [height, width].map(|length| stream.below(SIDE - length + 1));
    let (rows, _) = image.as_chunks_mut::<SIDE>();
    for row in &mut rows[top..top + height] {
        for eight in row[left..left + width].chunks_mut(8) {
            eight.copy_from_slice(&stream.next_u64().to_le_bytes()[..eight.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::erase;
    use crate::data::{PIXELS, SIDE};
    use crate::random::{Purpose, Stream};

    #[test]
    fn only_a_rectangle_of_the_right_size_is_erased() {
        for sample in 0..200 {
            // Black and white, so that a random value nearly always shows.
            let mut image = [0; PIXELS];
            erase(&mut Stream::new(1, Purpose::Augment, [0, sample]), &mut image);
            let changed = |at: &usize| image[*at] != 0;
            let rows = (0..PIXELS).filter(changed).map(|at| at / SIDE);
            let columns = (0..PIXELS).filter(changed).map(|at| at % SIDE);
            let span = |values: &mut dyn Iterator<Item = usize>| {
                let all: Vec<usize> = values.collect();
                all.iter().max().unwrap() - all.iter().min().unwrap() + 1
            };
            let area = span(&mut rows.into_iter()) * span(&mut columns.into_iter());
            assert!((10..=170).contains(&area), "{area} pixels");
            assert!((0..PIXELS).filter(changed).count() * 10 >= area * 9, "the rectangle is full");
        }
    }
}
