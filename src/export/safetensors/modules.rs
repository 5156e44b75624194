//! The `torch.nn` modules that stand for an architecture, as a Python expression.

use crate::arch::{Arch, DropoutRate, Layer, Place, Shape};

/// The `torch.nn.Sequential` of `arch`, one module for each layer; `None` if it has residual blocks, which no sequence can say.
pub fn sequential(arch: &Arch, dropout: f32) -> Option<String> {
    let modules = arch.places().iter().map(|place| module(place, dropout)).collect::<Option<Vec<_>>>()?;
    Some(format!("torch.nn.Sequential({})", modules.join(", ")))
}

fn module(place: &Place, dropout: f32) -> Option<String> {
    let arguments = match place.layer {
        Layer::Conv { filters, kernel: [height, width], stride, padding } => {
            let channels = place.input.channels();
            format!("Conv2d({channels}, {filters}, ({height}, {width}), stride={stride}, padding={padding})")
        }
        Layer::MaxPool { size, stride } => format!("MaxPool2d({size}, stride={stride})"),
        Layer::Relu => "ReLU()".into(),
        Layer::BatchNorm => {
            let dimensions = if matches!(place.input, Shape::Map { .. }) { 2 } else { 1 };
            // PyTorch's momentum is the share of the new value, Keras's and ours that of the old.
            format!("BatchNorm{dimensions}d({}, eps=1e-3, momentum=0.01)", place.input.channels())
        }
        Layer::Dropout(DropoutRate::Setting) => format!("Dropout({dropout})"),
        Layer::Dropout(DropoutRate::Fixed(rate)) => format!("Dropout({rate})"),
        Layer::Flatten => "Flatten()".into(),
        Layer::Dense { units } => format!("Linear({}, {units})", place.input.len()),
        Layer::GlobalAveragePool => "Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())".into(),
        Layer::Residual { .. } => return None,
    };
    Some(format!("torch.nn.{arguments}"))
}
