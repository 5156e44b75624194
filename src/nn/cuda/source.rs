//! The kernels of a program as CUDA C++: the templates of `kernels.cu` with the program's shapes.

use std::fmt::Write as _;

use super::blocks::{IMAGE_PARTS, Tile, Way, Whole, forward_way, input_way, shares, weight_way};
use super::program::{Affine, After, Dropout, Op, Program, Step};
use crate::arch::DropoutRate;
use crate::nn::Precision;

/// The templates.
const TEMPLATES: &str = include_str!("kernels.cu");
/// Threads of the kernels that go value by value.
pub const THREADS: usize = 256;
/// Shares of the rows in the sums of a batch norm.
const NORM_SHARES: usize = 32;

/// The kernels of a program, in the order in which a step launches them.
#[derive(Debug, Default)]
pub struct Kernels {
    /// From the images to the logits.
    pub forward: Vec<Kernel>,
    /// From the slopes of the logits to the (partial) gradients of the parameters.
    pub backward: Vec<Kernel>,
    /// After the update.
    pub follow: Vec<Kernel>,
}

/// One function of the source, and how it is launched.
#[derive(Debug)]
pub struct Kernel {
    pub name: String,
    /// Of a block.
    pub threads: usize,
    pub grid: Grid,
    /// Bytes of shared memory that it is given.
    pub shared: usize,
    /// Whether it can run beside the kernels that follow, up to the last of the backward pass.
    pub aside: bool,
    /// Those behind the step.
    pub arguments: Vec<Argument>,
    text: String,
}

/// How many blocks a kernel needs.
#[derive(Clone, Debug)]
pub enum Grid {
    /// Always as many.
    Fixed([usize; 3]),
    /// Enough for so many values a sample.
    Values(usize),
    /// The tiles of a convolution's product.
    Product(Affine, Tile),
    /// The tiles of the gradient of a convolution's input.
    Input(Affine, Tile),
    /// Groups of so many samples, and of columns.
    Samples(usize, usize),
}

impl Grid {
    /// For `samples` samples.
    pub fn blocks(&self, samples: usize) -> [usize; 3] {
        match self {
            Self::Fixed(blocks) => *blocks,
            Self::Samples(group, columns) => [samples.div_ceil(*group), *columns, 1],
            Self::Values(len) => [(samples * len).div_ceil(THREADS).min(1024), 1, 1],
            Self::Product(affine, tile) => {
                [affine.rows(samples).div_ceil(tile.rows), affine.filters.div_ceil(tile.columns), 1]
            }
            Self::Input(affine, tile) => {
                let [height, width, channels] = affine.input;
                [(samples * height * width).div_ceil(tile.rows), channels.div_ceil(tile.columns), 1]
            }
        }
    }
}

/// Memory that a kernel is given the address of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The values of this map.
    Value(usize),
    /// The gradient of the loss by them.
    Slope(usize),
    /// Where the maxima lie that became them.
    Maximum(usize),
    /// The parameter with this number.
    Parameter(usize),
    /// Its moving average, nowhere if there is none.
    Average(usize),
    /// Partial sums of this step.
    Partial(usize),
    /// Mean, variance and inverse deviation of this step's channels.
    Statistics(usize),
    /// Whole sums of this step.
    Sums(usize),
    /// Whether a gradient was not finite.
    Bad,
}

/// Values that a step needs beside its maps: [`Argument::Partial`], [`Argument::Statistics`] and [`Argument::Sums`].
pub fn room(step: &Step, limit: usize) -> [usize; 3] {
    match &step.op {
        Op::Affine(affine) => [shares(affine, step.input == 0, limit)[0] * affine.filters * (affine.depth() + 1), 0, 0],
        Op::BatchNorm { channels, .. } => [NORM_SHARES * 2 * *channels, 3 * *channels, 2 * *channels],
        _ => [0; 3],
    }
}

/// The whole source of `kernels`.
pub fn source(kernels: &Kernels, precision: Precision) -> String {
    let mut text = String::new();
    if precision == Precision::Float {
        text.push_str("#define PRECISE\n");
    }
    text.push_str(TEMPLATES);
    text.push_str("\n// ---- The steps of this network ----\n");
    for kernel in kernels.forward.iter().chain(&kernels.backward).chain(&kernels.follow) {
        text.push_str(&kernel.text);
    }
    text
}

/// The kernels of `program` for a GPU whose blocks can have `limit` bytes of shared memory.
pub fn kernels(program: &Program, limit: usize) -> Kernels {
    let mut kernels = Kernels::default();
    for index in 0..program.steps.len() {
        let writer = Writer { program, index, limit };
        writer.forward(&mut kernels.forward);
        writer.follow(&mut kernels.follow);
    }
    for index in (0..program.steps.len()).rev() {
        Writer { program, index, limit }.backward(&mut kernels.backward);
    }
    kernels
}

/// Writes the kernels of one step.
#[derive(Clone, Copy)]
struct Writer<'a> {
    program: &'a Program,
    index: usize,
    limit: usize,
}

impl Writer<'_> {
    /// A kernel that calls `body` with these parameters, each with what it is given.
    fn kernel(&self, what: &str, threads: usize, grid: Grid, parameters: &[(&str, Argument)], body: &str) -> Kernel {
        let name = format!("{what}_{}", self.index);
        // With several blocks on a multiprocessor, one computes while another waits for memory.
        let blocks = 512 / threads;
        let mut text =
            format!("extern \"C\" __global__ void __launch_bounds__({threads}, {blocks}) {name}(const Step *step");
        for (parameter, _) in parameters {
            let _ = write!(text, ", {parameter}");
        }
        let _ = writeln!(text, ") {{ {body}; }}");
        Kernel {
            name,
            threads,
            grid,
            shared: 0,
            aside: what == "weight",
            arguments: parameters.iter().map(|(_, argument)| *argument).collect(),
            text,
        }
    }

    fn forward(&self, kernels: &mut Vec<Kernel>) {
        let step = &self.program.steps[self.index];
        let (input, output) = (self.program.maps[step.input], self.program.maps[step.output]);
        let (h, w, c, len) = (input.height, input.width, input.channels, input.len());
        let (x, y) = (("const float *x", Argument::Value(step.input)), ("float *y", Argument::Value(step.output)));
        let values = Grid::Values(output.len());
        let mut by_value = |parameters: &[(&str, Argument)], body: &str| {
            kernels.push(self.kernel("forward", THREADS, values.clone(), parameters, body));
        };
        match &step.op {
            Op::Image => by_value(&[y], "image_forward(step, y)"),
            Op::Relu => by_value(&[x, y], &format!("relu_forward<{len}>(step, x, y)")),
            Op::Dropout(layer) => {
                let (layer, rate) = dropout(Some(*layer));
                by_value(&[x, y], &format!("dropout_forward<{len}>(step, x, y, {layer}, {rate})"));
            }
            Op::MaxPool { size, stride } => {
                let maximum = ("u16 *maximum", Argument::Maximum(step.output));
                let body = format!("pool_forward<{h}, {w}, {c}, {size}, {stride}>(step, Floats{{x}}, y, maximum)");
                by_value(&[x, y, maximum], &body);
            }
            Op::Average => by_value(&[x, y], &format!("average_forward<{}, {c}>(step, x, y)", h * w)),
            Op::Add { other, relu } => {
                let other = ("const float *other", Argument::Value(*other));
                by_value(&[x, other, y], &format!("add_forward<{len}, {relu}>(step, x, other, y)"));
            }
            Op::BatchNorm { parameter, channels, relu } => self.norm_forward(*parameter, *channels, *relu, kernels),
            Op::Affine(affine) => self.affine_forward(affine, kernels),
        }
    }

    fn norm_forward(&self, parameter: usize, c: usize, relu: bool, kernels: &mut Vec<Kernel>) {
        let step = &self.program.steps[self.index];
        let len = self.program.maps[step.input].len();
        let (x, y) = (("const float *x", Argument::Value(step.input)), ("float *y", Argument::Value(step.output)));
        let values = Grid::Values(len);
        let positions = len / c;
        let parameters = |kind: usize| Argument::Parameter(parameter + kind);
        let partial = Argument::Partial(self.index);
        let statistics = Argument::Statistics(self.index);
        kernels.push(self.kernel(
            "sums",
            THREADS,
            Grid::Fixed([c.div_ceil(32), NORM_SHARES, 1]),
            &[x, ("float *partial", partial)],
            &format!("norm_sums<{positions}, {c}>(step, x, partial)"),
        ));
        kernels.push(self.kernel(
            "finish",
            THREADS,
            Grid::Fixed([c.div_ceil(THREADS), 1, 1]),
            &[
                x,
                ("const float *partial", partial),
                ("const float *mean", parameters(2)),
                ("const float *variance", parameters(3)),
                ("float *statistics", statistics),
            ],
            &format!("norm_finish<{positions}, {c}>(step, x, partial, mean, variance, statistics, {NORM_SHARES})"),
        ));
        kernels.push(self.kernel(
            "forward",
            THREADS,
            values,
            &[
                x,
                ("const float *scale", parameters(0)),
                ("const float *shift", parameters(1)),
                ("const float *statistics", statistics),
                y,
            ],
            &format!("norm_forward<{positions}, {c}, {relu}>(step, x, scale, shift, statistics, y)"),
        ));
    }

    fn affine_forward(&self, affine: &Affine, kernels: &mut Vec<Kernel>) {
        let step = &self.program.steps[self.index];
        let (x, y) = (("const float *x", Argument::Value(step.input)), ("float *y", Argument::Value(step.output)));
        let (grey, x_text) = self.source();
        let (layer, rate) = dropout(affine.dropout);
        let shape = shape(affine);
        let parameters = [
            x,
            ("const float *w", Argument::Parameter(affine.parameter)),
            ("const float *b", Argument::Parameter(affine.parameter + 1)),
            y,
            ("u8 *maximum", Argument::Maximum(step.output)),
        ];
        let rest = format!("w, b, y, maximum, {layer}, {rate})");
        kernels.push(match forward_way(affine, step.input == 0, self.limit) {
            Way::Tiles(tile) => {
                let body = format!("conv_forward<{shape}, {}, {grey}>(step, {x_text}, {rest}", tile.text());
                self.kernel("forward", tile.threads(), Grid::Product(affine.clone(), tile), &parameters, &body)
            }
            Way::Whole(whole) => {
                let Whole { samples, warps: [wm, wn], .. } = whole;
                let columns = whole.columns();
                let body = format!("whole_forward<{shape}, {samples}, {columns}, {wm}, {wn}>(step, x, {rest}");
                let grid = Grid::Samples(samples, affine.filters.div_ceil(columns));
                let kernel = self.kernel("forward", whole.threads(), grid, &parameters, &body);
                Kernel { shared: whole.shared, ..kernel }
            }
            Way::Image => {
                let grid = Grid::Samples(1, affine.filters.div_ceil(32));
                let body = format!("image_conv_forward<{shape}>(step, {rest}");
                self.kernel("forward", THREADS, grid, &parameters, &body)
            }
        });
    }

    /// The type of the input of an affine step, and its value.
    fn source(&self) -> (&'static str, &'static str) {
        if self.program.steps[self.index].input == 0 { ("Grey", "Grey{step}") } else { ("Floats", "Floats{x}") }
    }

    fn backward(&self, kernels: &mut Vec<Kernel>) {
        let step = &self.program.steps[self.index];
        let input = self.program.maps[step.input];
        let (h, w, c, len) = (input.height, input.width, input.channels, input.len());
        let adds = self.program.adds(self.index, step.input);
        let x = ("const float *x", Argument::Value(step.input));
        let y = ("const float *y", Argument::Value(step.output));
        let slope = ("const float *slope", Argument::Slope(step.output));
        let gradient = ("float *gradient", Argument::Slope(step.input));
        let mut by_value = |parameters: &[(&str, Argument)], body: &str| {
            if input.trained {
                kernels.push(self.kernel("input", THREADS, Grid::Values(len), parameters, body));
            }
        };
        match &step.op {
            Op::Image => {}
            Op::Relu => {
                by_value(
                    &[y, slope, gradient],
                    &format!("pass_backward<{len}, true, {adds}>(step, y, slope, gradient)"),
                );
            }
            Op::Dropout(layer) => {
                let (layer, rate) = dropout(Some(*layer));
                let body = format!("dropout_backward<{len}, {adds}>(step, slope, gradient, {layer}, {rate})");
                by_value(&[slope, gradient], &body);
            }
            Op::MaxPool { size, stride } => {
                let maximum = ("const u16 *maximum", Argument::Maximum(step.output));
                let body =
                    format!("pool_backward<{h}, {w}, {c}, {size}, {stride}, {adds}>(step, maximum, slope, gradient)");
                by_value(&[maximum, slope, gradient], &body);
            }
            Op::Average => {
                let body = format!("average_backward<{}, {c}, {adds}>(step, slope, gradient)", h * w);
                by_value(&[slope, gradient], &body);
            }
            Op::Add { other, relu } => {
                // The other term first: if it is the same map, the input's slopes are added to it.
                if self.program.maps[*other].trained {
                    let adds = self.program.read_later(self.index, *other);
                    let body = format!("pass_backward<{len}, {relu}, {adds}>(step, y, slope, gradient)");
                    let gradient = ("float *gradient", Argument::Slope(*other));
                    kernels.push(self.kernel("other", THREADS, Grid::Values(len), &[y, slope, gradient], &body));
                }
                if input.trained {
                    let body = format!("pass_backward<{len}, {relu}, {adds}>(step, y, slope, gradient)");
                    kernels.push(self.kernel("input", THREADS, Grid::Values(len), &[y, slope, gradient], &body));
                }
            }
            Op::BatchNorm { parameter, channels: c, relu } => {
                let positions = len / c;
                let statistics = ("const float *statistics", Argument::Statistics(self.index));
                let (partial, sums) = (Argument::Partial(self.index), Argument::Sums(self.index));
                kernels.push(self.kernel(
                    "slopes",
                    THREADS,
                    Grid::Fixed([c.div_ceil(32), NORM_SHARES, 1]),
                    &[x, y, slope, statistics, ("float *partial", partial)],
                    &format!("norm_slope_sums<{positions}, {c}, {relu}>(step, x, y, slope, statistics, partial)"),
                ));
                kernels.push(self.kernel(
                    "settle",
                    THREADS,
                    Grid::Fixed([(2 * c).div_ceil(THREADS), 1, 1]),
                    &[("const float *partial", partial), ("float *sums", sums)],
                    &format!("norm_slope_finish<{c}>(partial, sums, {NORM_SHARES})"),
                ));
                if input.trained {
                    let scale = ("const float *scale", Argument::Parameter(*parameter));
                    kernels.push(self.kernel(
                        "input",
                        THREADS,
                        Grid::Values(len),
                        &[x, y, slope, statistics, scale, ("const float *sums", sums), gradient],
                        &format!(
                            "norm_backward<{positions}, {c}, {relu}, {adds}>\
                             (step, x, y, slope, statistics, scale, sums, gradient)"
                        ),
                    ));
                }
            }
            Op::Affine(affine) => self.affine_backward(affine, adds, kernels),
        }
    }

    fn affine_backward(&self, affine: &Affine, adds: bool, kernels: &mut Vec<Kernel>) {
        let step = &self.program.steps[self.index];
        let (layer, rate) = dropout(affine.dropout);
        let (grey, x_text) = self.source();
        let shape = shape(affine);
        let y = ("const float *y", Argument::Value(step.output));
        let maximum = ("const u8 *maximum", Argument::Maximum(step.output));
        let slope = ("const float *slope", Argument::Slope(step.output));
        let x = ("const float *x", Argument::Value(step.input));
        let partial = ("float *partial", Argument::Partial(self.index));
        let rest = format!("y, maximum, slope, partial, {layer}, {rate})");
        let parameters = [x, y, maximum, slope, partial];
        let (way, blocks) = weight_way(affine, step.input == 0, self.limit);
        let grid = Grid::Fixed(blocks);
        kernels.push(match way {
            Way::Tiles(tile) => {
                let body = format!("conv_weight_gradient<{shape}, {}, {grey}>(step, {x_text}, {rest}", tile.text());
                self.kernel("weight", tile.threads(), grid, &parameters, &body)
            }
            Way::Whole(whole) => {
                let Whole { samples, fragments: [mt, nt], warps: [wm, wn], shared, .. } = whole;
                let body = format!("whole_weight_gradient<{shape}, {samples}, {mt}, {nt}, {wm}, {wn}>(step, x, {rest}");
                Kernel { shared, ..self.kernel("weight", whole.threads(), grid, &parameters, &body) }
            }
            Way::Image => {
                let body = format!("image_conv_weight_gradient<{shape}, {IMAGE_PARTS}>(step, {rest}");
                self.kernel("weight", THREADS, grid, &parameters, &body)
            }
        });
        if !self.program.maps[step.input].trained {
            return;
        }
        let weight = ("const float *w", Argument::Parameter(affine.parameter));
        let gradient = ("float *gradient", Argument::Slope(step.input));
        let parameters = [weight, y, maximum, slope, gradient];
        let rest = format!("(step, w, y, maximum, slope, gradient, {layer}, {rate})");
        kernels.push(match input_way(affine, self.limit) {
            Way::Whole(whole) => {
                let Whole { samples, warps: [wm, wn], shared, .. } = whole;
                let columns = whole.columns();
                let body = format!("whole_input_gradient<{shape}, {samples}, {columns}, {wm}, {wn}, {adds}>{rest}");
                let grid = Grid::Samples(samples, affine.input[2].div_ceil(columns));
                Kernel { shared, ..self.kernel("input", whole.threads(), grid, &parameters, &body) }
            }
            Way::Tiles(tile) => {
                let body = format!("conv_input_gradient<{shape}, {}, {adds}>{rest}", tile.text());
                self.kernel("input", tile.threads(), Grid::Input(affine.clone(), tile), &parameters, &body)
            }
            Way::Image => unreachable!("the image has no gradient"),
        });
    }

    fn follow(&self, kernels: &mut Vec<Kernel>) {
        let Op::BatchNorm { parameter, channels, .. } = self.program.steps[self.index].op else { return };
        for (what, kind) in [("mean", 0), ("variance", 1)] {
            let running = parameter + 2 + kind;
            kernels.push(self.kernel(
                what,
                THREADS,
                Grid::Fixed([channels.div_ceil(THREADS), 1, 1]),
                &[
                    ("const float *statistics", Argument::Statistics(self.index)),
                    ("float *running", Argument::Parameter(running)),
                    ("float *average", Argument::Average(running)),
                    ("const unsigned *bad", Argument::Bad),
                ],
                &format!("norm_follow<{channels}>(step, statistics + {}, running, average, bad)", kind * channels),
            ));
        }
    }
}

/// The template of a convolution's shape.
fn shape(affine: &Affine) -> String {
    let Affine { input: [h, w, c], filters, kernel: [kh, kw], stride, padding, .. } = affine;
    let after = match affine.after {
        After::Nothing => "NOTHING",
        After::Relu => "RELU",
        After::ReluPool => "RELU_POOL",
    };
    format!("Conv<{h}, {w}, {c}, {filters}, {kh}, {kw}, {stride}, {padding}, {after}>")
}

/// The layer and rate of a dropout as the kernels take them.
fn dropout(dropout: Option<Dropout>) -> (String, String) {
    match dropout {
        None => ("-1".into(), "0.0f".into()),
        Some(Dropout { layer, rate: DropoutRate::Setting }) => (layer.to_string(), "-1.0f".into()),
        Some(Dropout { layer, rate: DropoutRate::Fixed(rate) }) => (layer.to_string(), format!("{rate:?}f")),
    }
}
