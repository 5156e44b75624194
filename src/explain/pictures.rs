//! Feature maps and filters as pictures.

/// A picture of any size, one value a pixel.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Picture {
    /// Rows and columns.
    pub size: [usize; 2],
    /// Row by row.
    pub values: Vec<f32>,
}

/// The pictures of one layer.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LayerMaps {
    /// The layer as the architecture writes it: `conv32:3x3`.
    pub layer: String,
    /// One for each channel or filter.
    pub pictures: Vec<Picture>,
}

impl LayerMaps {
    /// The largest absolute value of all: what the pictures' brightness is measured by.
    pub fn peak(&self) -> f32 {
        self.pictures.iter().flat_map(|picture| &picture.values).fold(0.0, |peak, value| peak.max(value.abs()))
    }
}

/// The channels of `values`, which are in the order height, width, channel.
pub(super) fn channels(layer: String, values: &[f32], size: [usize; 2], channels: usize) -> LayerMaps {
    let picture = |channel| {
        let values = values.iter().skip(channel).step_by(channels).copied().collect();
        Picture { size, values }
    };
    LayerMaps { layer, pictures: (0..channels).map(picture).collect() }
}

/// The filters of `weights`, `[filter, row, column, channel]`, each as the mean over its channels.
pub(super) fn filters(layer: String, weights: &[f32], size: [usize; 2], channels: usize) -> LayerMaps {
    let picture = |weights: &[f32]| {
        let mean = |values: &[f32]| values.iter().sum::<f32>() / channels as f32;
        Picture { size, values: weights.chunks_exact(channels).map(mean).collect() }
    };
    let pixels = (size[0] * size[1] * channels).max(1);
    LayerMaps { layer, pictures: weights.chunks_exact(pixels).map(picture).collect() }
}
