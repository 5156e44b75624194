//! Gaussian noise.

use super::super::Image;
use crate::random::Stream;

/// Adds noise of deviation `deviation` (1 is the full range) to every pixel of `image`; values stay within 0…255.
pub fn add(deviation: f32, stream: &mut Stream, image: &mut Image) {
    // The sum of four uniform 16-bit numbers is near enough to a normal one, and takes one draw; its deviation is 2¹⁶/√3.
    let factor = (deviation * 255.0 * 3f32.sqrt()) as i32;
    for pixel in image {
        let bits = stream.next_u64();
        let sum: i32 = (0..4).map(|part| i32::from((bits >> (16 * part)) as i16)).sum();
        let change = sum.wrapping_mul(factor).wrapping_add(1 << 15) >> 16;
        *pixel = i32::from(*pixel).wrapping_add(change).clamp(0, 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::add;
    use crate::data::PIXELS;
    use crate::random::{Purpose, Stream};

    #[test]
    fn the_noise_has_mean_0_and_the_deviation_asked_for() {
        let mut image = [128; PIXELS];
        add(0.1, &mut Stream::new(1, Purpose::Augment, [0, 0]), &mut image);
        let n = PIXELS as f64;
        let mean = image.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / n;
        let deviation = (image.iter().map(|&pixel| (f64::from(pixel) - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!((mean - 128.0).abs() < 3.0 && (deviation / 25.5 - 1.0).abs() < 0.1, "{mean} ± {deviation}");
    }
}
