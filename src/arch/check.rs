//! The shape check: follows the shape of a sample through the layers and explains what does not fit.

use super::{ArchError, DropoutRate, Layer, Shape};
use crate::data::CLASSES;

/// Bounds that keep a typo from asking for more than a machine has.
const MAX_LAYERS: usize = 200;
const MAX_PARAMETERS: usize = 50_000_000;
const MAX_VALUES: usize = 2_000_000;
const MAX_WIDTH: usize = 100_000;
/// How deep residual blocks may lie in each other.
pub(super) const MAX_NESTING: usize = 4;

/// Checks a whole network: 28×28×1 in, 10 logits out.
pub(super) fn network(layers: &[Layer]) -> Result<(), ArchError> {
    let fail = |problem| Err(ArchError(problem));
    if layers.is_empty() {
        return fail(format!("a network needs at least one layer: flatten dense{CLASSES} is the smallest"));
    }
    let end = sequence(layers, Shape::INPUT, 0).map_err(ArchError)?;
    if end != Shape::Vector(CLASSES) {
        return fail(format!(
            "the last layer must give {CLASSES} values, one for each class, but `{}` gives {end}: end with dense{CLASSES}",
            brief(&layers[layers.len() - 1])
        ));
    }
    let (layers, parameters) = totals(layers, Shape::INPUT);
    if layers > MAX_LAYERS {
        return fail(format!("{layers} layers are more than the {MAX_LAYERS} that are allowed"));
    }
    if parameters > MAX_PARAMETERS {
        return fail(format!(
            "{parameters} parameters are more than the {MAX_PARAMETERS} that are allowed: use fewer filters or units, or \
             pool before flatten"
        ));
    }
    Ok(())
}

/// The shape that `layer` gives for `input`, `depth` residual blocks deep; a reason that reads on after the layer's name.
pub(super) fn output(layer: &Layer, input: Shape, depth: usize) -> Result<Shape, String> {
    let shape = match layer {
        Layer::Conv { filters, kernel, stride, padding } => conv(*filters, *kernel, *stride, *padding, input)?,
        Layer::MaxPool { size, stride } => pool(*size, *stride, input)?,
        Layer::Dropout(DropoutRate::Fixed(rate)) if !(0.0..1.0).contains(rate) => {
            return Err("needs a rate from 0 to below 1".into());
        }
        Layer::Relu | Layer::BatchNorm | Layer::Dropout(_) => input,
        Layer::Flatten => Shape::Vector(input.len()),
        Layer::Dense { units } => match input {
            Shape::Vector(_) => Shape::Vector(counted(*units, "units")?),
            Shape::Map { .. } => return Err("needs a vector: put flatten or gap before it".into()),
        },
        Layer::GlobalAveragePool => match input {
            Shape::Map { channels, .. } => Shape::Vector(channels),
            Shape::Vector(_) => return Err("needs an image: leave it out, or put it before flatten".into()),
        },
        Layer::Residual { body, shortcut } => residual(body, shortcut, input, depth)?,
    };
    if shape.len() > MAX_VALUES {
        return Err(format!("gives {} values a sample, more than the {MAX_VALUES} that are allowed", shape.len()));
    }
    Ok(shape)
}

fn sequence(layers: &[Layer], input: Shape, depth: usize) -> Result<Shape, String> {
    let mut shape = input;
    for (index, layer) in layers.iter().enumerate() {
        shape = output(layer, shape, depth).map_err(|reason| {
            let from = match index.checked_sub(1) {
                Some(before) => format!("gets {shape} from `{}`", brief(&layers[before])),
                None => format!("gets {shape}"),
            };
            format!("layer {} `{}` {from} but {reason}", index + 1, brief(layer))
        })?;
    }
    Ok(shape)
}

fn conv(filters: usize, kernel: [usize; 2], stride: usize, padding: usize, input: Shape) -> Result<Shape, String> {
    let Shape::Map { height, width, .. } = input else {
        return Err("needs an image: put it before flatten".into());
    };
    if kernel.iter().any(|size| !(1..=7).contains(size)) {
        return Err("needs a kernel of 1 to 7 rows and columns".into());
    }
    if !(1..=2).contains(&stride) {
        return Err("needs a stride of 1 or 2".into());
    }
    if kernel.iter().any(|&size| padding >= size) {
        return Err("needs less padding than its kernel is wide and high".into());
    }
    let padded = [height + 2 * padding, width + 2 * padding];
    if padded[0] < kernel[0] || padded[1] < kernel[1] {
        return Err(format!(
            "needs at least {}×{}: use a smaller kernel, padding (:p1), or less pooling before it",
            kernel[0] - 2 * padding.min(kernel[0] / 2),
            kernel[1] - 2 * padding.min(kernel[1] / 2)
        ));
    }
    let channels = counted(filters, "filters")?;
    Ok(Shape::Map {
        height: (padded[0] - kernel[0]) / stride + 1,
        width: (padded[1] - kernel[1]) / stride + 1,
        channels,
    })
}

fn pool(size: usize, stride: usize, input: Shape) -> Result<Shape, String> {
    let Shape::Map { height, width, channels } = input else {
        return Err("needs an image: put it before flatten".into());
    };
    if size == 0 || stride == 0 {
        return Err("needs a window and a stride of at least 1".into());
    }
    if height < size || width < size {
        return Err(format!("needs at least {size}×{size}: use a smaller window, or less pooling before it"));
    }
    Ok(Shape::Map { height: (height - size) / stride + 1, width: (width - size) / stride + 1, channels })
}

fn residual(body: &[Layer], shortcut: &[Layer], input: Shape, depth: usize) -> Result<Shape, String> {
    if depth == MAX_NESTING {
        return Err(format!("lies more than {MAX_NESTING} residual blocks deep"));
    }
    if body.is_empty() {
        return Err("has no layer inside".into());
    }
    let inside = |layers, way| sequence(layers, input, depth + 1).map_err(|problem| format!("in its {way} {problem}"));
    let (main, other) = (inside(body, "body")?, inside(shortcut, "shortcut")?);
    if main != other {
        let advice = match (shortcut.is_empty(), main) {
            (true, Shape::Map { channels, .. }) => {
                format!("give the body the shape of its input, or add a shortcut as in res(… | conv{channels}:1x1)")
            }
            _ => "give both the same shape".into(),
        };
        let way = if shortcut.is_empty() { "its input" } else { "its shortcut" };
        return Err(format!("its body gives {main} and {way} {other}, which can't be added: {advice}"));
    }
    Ok(main)
}

fn counted(count: usize, what: &str) -> Result<usize, String> {
    if (1..=MAX_WIDTH).contains(&count) { Ok(count) } else { Err(format!("needs 1 to {MAX_WIDTH} {what}")) }
}

/// Layers and parameters, those inside residual blocks counted too; the shapes are already checked.
fn totals(layers: &[Layer], mut input: Shape) -> (usize, usize) {
    let (mut count, mut parameters) = (0_usize, 0_usize);
    for layer in layers {
        count += 1;
        parameters = parameters.saturating_add(layer.parameters(input));
        if let Layer::Residual { body, shortcut } = layer {
            for way in [body, shortcut] {
                let (inner, inner_parameters) = totals(way, input);
                count += inner;
                parameters = parameters.saturating_add(inner_parameters);
            }
        }
        input = super::output(layer, input);
    }
    (count, parameters)
}

/// The layer's text, a residual block's shortened.
fn brief(layer: &Layer) -> String {
    match layer {
        Layer::Residual { .. } => "res(…)".into(),
        _ => layer.to_string(),
    }
}
