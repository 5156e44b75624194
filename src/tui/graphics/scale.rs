//! Images at other sizes: shrunk by the mean over what a pixel covers, enlarged by repeating pixels.

use crate::data::{Image, SIDE};

/// The image as `[side, side]` pixels.
pub(super) fn square(image: &Image, side: usize) -> Vec<u8> {
    if side >= SIDE { enlarged(image, side) } else { shrunk(image, side) }
}

fn enlarged(image: &Image, side: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(side * side);
    for y in 0..side {
        let row = y * SIDE / side * SIDE;
        pixels.extend((0..side).map(|x| image[row + x * SIDE / side]));
    }
    pixels
}

/// The box filter. A pixel is `side` units wide in the image and [`SIDE`] units in the result, so that all is whole numbers.
fn shrunk(image: &Image, side: usize) -> Vec<u8> {
    let spans: Vec<Vec<(usize, usize)>> = (0..side).map(|pixel| covered(pixel, side)).collect();
    let mut pixels = Vec::with_capacity(side * side);
    for rows in &spans {
        for columns in &spans {
            let mut sum = 0;
            for &(y, height) in rows {
                for &(x, width) in columns {
                    sum += usize::from(image[y * SIDE + x]) * height * width;
                }
            }
            pixels.push((sum / (SIDE * SIDE)) as u8);
        }
    }
    pixels
}

/// Which of the image's pixels the result's `pixel` covers along one axis, and how many units of each; [`SIDE`] in all.
fn covered(pixel: usize, side: usize) -> Vec<(usize, usize)> {
    let (begin, end) = (pixel * SIDE, (pixel + 1) * SIDE);
    let overlap = |source: usize| (end.min((source + 1) * side)).saturating_sub(begin.max(source * side));
    (begin / side..SIDE).map(|source| (source, overlap(source))).take_while(|&(_, units)| units > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::{SIDE, covered, square};
    use crate::data::PIXELS;

    #[test]
    fn a_smaller_image_keeps_its_mean() {
        let mut image = [0; PIXELS];
        for (index, pixel) in image.iter_mut().enumerate() {
            *pixel = (index * 37 % 256) as u8;
        }
        let mean = |pixels: &[u8]| pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / pixels.len() as f64;
        for side in 1..SIDE {
            let small = square(&image, side);
            assert_eq!(small.len(), side * side);
            assert!((mean(&small) - mean(&image)).abs() < 1.0, "{side}: {} {}", mean(&small), mean(&image));
            assert!((0..side).all(|pixel| covered(pixel, side).iter().map(|(_, units)| units).sum::<usize>() == SIDE));
        }
    }

    #[test]
    fn half_the_size_is_the_mean_of_four() {
        let mut image = [0; PIXELS];
        (image[0], image[1], image[SIDE], image[SIDE + 1]) = (255, 100, 45, 0);
        assert_eq!(square(&image, SIDE / 2)[0], 100);
    }

    #[test]
    fn twice_the_size_repeats_every_pixel() {
        let mut image = [0; PIXELS];
        image[SIDE + 2] = 9;
        let large = square(&image, 2 * SIDE);
        let nines: Vec<usize> = (0..large.len()).filter(|&at| large[at] == 9).collect();
        assert_eq!(nines, [2 * 56 + 4, 2 * 56 + 5, 3 * 56 + 4, 3 * 56 + 5]);
    }
}
