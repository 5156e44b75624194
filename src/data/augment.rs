//! Augmentations: random changes to a training image that leave its label true.

mod elastic;
mod erase;
mod noise;
mod text;
pub(super) mod warp;

use elastic::Field;
pub use text::{AugmentError, SETTINGS, Setting};
use warp::Map;

use super::Image;
use crate::random::Stream;

/// How far each augmentation may go; 0 turns it off. As text: `rotate=10,shift=0.1,zoom=0.1`, `tutorial` or `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augment {
    /// Rotation by up to this many degrees either way.
    pub rotate: f32,
    /// Shift by up to this fraction of the side in each direction.
    pub shift: f32,
    /// Zoom by up to this fraction, in or out.
    pub zoom: f32,
    /// Shear by up to this many degrees either way.
    pub shear: f32,
    /// Elastic distortion (Simard et al. 2003): root mean square displacement in pixels; the paper's is 2.
    pub elastic: f32,
    /// Gaussian noise with this deviation, as a fraction of the full range.
    pub noise: f32,
    /// Chance of erasing a random rectangle (Zhong et al. 2020).
    pub erase: f32,
}

impl Augment {
    /// The augmentation of the Keras tutorial.
    pub const TUTORIAL: Self =
        Self { rotate: 10.0, shift: 0.1, zoom: 0.1, shear: 0.0, elastic: 0.0, noise: 0.0, erase: 0.0 };

    /// Whether every augmentation is off.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Writes `image`, changed by random draws from `stream`, to `out`. All that moves pixels is one step of bilinear
    /// sampling, with zeros from outside the image. (Keras's layers repeat the border there, which on MNIST is 0 as well.)
    pub fn apply(&self, image: &Image, stream: &mut Stream, out: &mut Image) {
        // Drawn whether they are used or not, so that none of these five settings changes the draws of another. Elastic
        // distortion and noise draw only where they are on, and change what is drawn after them.
        let [angle, shear, zoom, x, y] = [(); 5].map(|()| stream.uniform(-1.0, 1.0));
        let map =
            Map::new(angle * self.rotate, shear * self.shear, 1.0 + zoom * self.zoom, [x, y].map(|t| t * self.shift));
        if self.elastic > 0.0 {
            warp::warp_by_field(image, &map, &Field::draw(self.elastic, stream), out);
        } else if map == Map::IDENTITY {
            out.copy_from_slice(image);
        } else {
            warp::warp(image, &map, out);
        }
        if self.noise > 0.0 {
            noise::add(self.noise, stream, out);
        }
        if stream.unit() < self.erase {
            erase::erase(stream, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, proptest};
    use proptest::prop_assert_eq;

    use super::{Augment, SETTINGS};
    use crate::data::{Image, PIXELS, SIDE};
    use crate::random::{Purpose, Stream};

    fn stream(sample: u64) -> Stream {
        Stream::new(1, Purpose::Augment, [0, sample])
    }

    /// A thick ring off the centre.
    fn ring() -> Image {
        let mut image = [0; PIXELS];
        for (at, pixel) in image.iter_mut().enumerate() {
            let radius = ((at / SIDE) as f32 - 12.0).hypot((at % SIDE) as f32 - 15.0);
            *pixel = (255.0 * (2.5 - (radius - 5.0).abs()).clamp(0.0, 1.0)) as u8;
        }
        image
    }

    fn mass(image: &Image) -> f64 {
        image.iter().copied().map(f64::from).sum()
    }

    fn augmented(augment: &Augment, image: &Image, sample: u64) -> Image {
        let mut out = [99; PIXELS];
        augment.apply(image, &mut stream(sample), &mut out);
        out
    }

    #[test]
    fn none_leaves_the_image_alone() {
        let image = ring();
        assert!(Augment::default().is_none());
        assert_eq!(augmented(&Augment::default(), &image, 3), image);
    }

    #[test]
    fn each_augmentation_changes_the_image_and_repeats_itself() {
        let check = |text: &str, kept: std::ops::Range<f64>| {
            let augment: Augment = text.parse().unwrap();
            let image = ring();
            let mut sum = 0.0;
            for sample in 0..50 {
                let changed = augmented(&augment, &image, sample);
                assert_ne!(changed, image, "{text}");
                assert_eq!(changed, augmented(&augment, &image, sample), "{text}");
                assert_ne!(changed, augmented(&augment, &image, sample + 1), "{text}");
                let ratio = mass(&changed) / mass(&image);
                assert!(kept.contains(&ratio), "{text}: {ratio} of the ink is left");
                sum += ratio;
            }
            let mean = sum / 50.0;
            assert!(text.contains("erase") || text.contains("noise") || (0.95..1.05).contains(&mean), "{text}: {mean}");
        };
        check("rotate=30", 0.98..1.02);
        check("shift=0.1", 0.98..1.02);
        check("zoom=0.2", 0.6..1.5);
        check("shear=20", 0.98..1.02);
        check("elastic=2", 0.5..1.6);
        check("noise=0.1", 1.0..3.0);
        check("erase=1", 0.3..3.0);
        check("tutorial", 0.75..1.25);
    }

    #[test]
    fn a_setting_of_the_map_does_not_change_the_draws_of_another() {
        let image = ring();
        let (one, both) = (
            Augment { rotate: 20.0, ..Augment::default() },
            Augment { rotate: 20.0, zoom: 1e-9, ..Augment::default() },
        );
        assert_eq!(augmented(&one, &image, 5), augmented(&both, &image, 5));
    }

    fn settings() -> impl Strategy<Value = Augment> {
        proptest::array::uniform7((any::<bool>(), 0.0f32..=1.0)).prop_map(|parts| {
            let mut augment = Augment::default();
            for (setting, (on, part)) in SETTINGS.iter().zip(parts) {
                *(setting.field)(&mut augment) = if on { part * setting.most } else { 0.0 };
            }
            augment
        })
    }

    proptest! {
        #[test]
        fn no_setting_in_range_panics(augment in settings(), sample in any::<u64>(), white in any::<bool>()) {
            let image = if white { [255; PIXELS] } else { ring() };
            prop_assert_eq!(augmented(&augment, &image, sample), augmented(&augment, &image, sample));
        }

        #[test]
        fn no_setting_at_all_panics(values in proptest::array::uniform7(any::<f32>()), sample in any::<u64>()) {
            let mut augment = Augment::default();
            for (setting, value) in SETTINGS.iter().zip(values) {
                *(setting.field)(&mut augment) = value;
            }
            prop_assert_eq!(augmented(&augment, &ring(), sample), augmented(&augment, &ring(), sample));
        }

        #[test]
        fn text_round_trips(augment in settings()) {
            prop_assert_eq!(augment.to_string().parse(), Ok(augment));
        }
    }
}
