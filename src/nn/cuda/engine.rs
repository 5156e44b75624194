//! A program at work on a GPU: its kernels, the memory between them, and the bursts of steps that they are launched for.

use std::collections::VecDeque;
use std::sync::Arc;

use cudarc::driver::{CudaDevice, CudaSlice};
use rayon::prelude::*;

use super::blocks;
use super::driver::{Address, Driver, Function, Graph, Module, address};
use super::memory::{BURST, DeviceStep, DeviceTensor, Mail, Maps, STEP};
use super::program::{Map, Op, Program};
use super::source::{self, Argument, Kernel, THREADS};
use crate::arch::Arch;
use crate::data::{Batch, CLASSES, Image, Images, PIXELS};
use crate::nn::loss;
use crate::nn::param::Spec;
use crate::nn::plan::normalise;
use crate::nn::{NetworkError, Precision};

/// Steps that are recorded in one graph.
const GROUP: usize = 8;
/// Samples that are evaluated together.
const CHUNK: usize = 1024;
/// Values of a map at most: the kernels' indices have 32 bits, and their loops go a stride beyond the end.
const MOST_VALUES: usize = (1 << 31) - (1 << 20);
/// Data sets that stay on the device: training and test images, and those of another run.
const DATA_SETS: usize = 3;
/// Data sets smaller than this are not kept there: their pixels go with the batch.
const SMALL: usize = 1000;

/// What came out of a step on the device.
#[derive(Clone, Debug)]
pub struct DeviceResult {
    /// Mean loss of the batch; NaN if a gradient was not finite.
    pub loss: f32,
    /// Of each sample.
    pub predictions: Vec<u8>,
}

/// The kernels with their launches.
struct Launches {
    forward: Vec<Launch>,
    backward: Vec<Launch>,
    follow: Vec<Launch>,
}

/// A compiled kernel.
struct Launch {
    kernel: Kernel,
    function: Function,
}

/// A network on a GPU. Parameters stay with the caller; what it keeps is memory to work in.
pub struct Engine {
    // Dropped in this order: graphs before what they launch, all of it before the driver.
    graphs: Vec<Option<Graph>>,
    /// The batch size that the graphs have blocks for.
    recorded: usize,
    launches: Launches,
    loss: Function,
    reduce: (Function, Blocks),
    update: (Function, Blocks),
    program: Program,
    maps: Maps,
    mail: Mail,
    /// By step: see [`source::room`].
    rooms: Vec<[CudaSlice<f32>; 3]>,
    tensors: Vec<DeviceTensor>,
    tensor_table: CudaSlice<u64>,
    bad: CudaSlice<u32>,
    /// What the last measured step left: see `Step` in `kernels.cu`.
    squares: CudaSlice<f32>,
    data_sets: VecDeque<(Arc<Images>, CudaSlice<u8>)>,
    _module: Module,
    driver: Driver,
}

/// Which parameters a pass takes.
#[derive(Clone, Copy)]
enum Weights {
    Trained,
    /// Their moving average, if there is one.
    Answering,
}

/// Which values of which parameter each block of a kernel does.
struct Blocks {
    table: CudaSlice<u32>,
    count: usize,
    /// Of each block.
    parameters: Vec<usize>,
}

impl Engine {
    /// For `arch` on `device`; `specs` are its parameters.
    pub fn new(
        arch: &Arch,
        specs: &[Spec],
        device: Arc<CudaDevice>,
        precision: Precision,
    ) -> Result<Self, NetworkError> {
        let driver = Driver::new(device)?;
        let program = Program::new(arch);
        let limit = driver.most_shared()?;
        let kernels = source::kernels(&program, limit);
        let module = driver.compile(&source::source(&kernels, precision))?;
        let compiled = |kernels: Vec<Kernel>| {
            let launch = |kernel: Kernel| {
                let function = module.function(&kernel.name)?;
                driver.allow_shared(function, kernel.shared)?;
                Ok(Launch { kernel, function })
            };
            kernels.into_iter().map(launch).collect::<Result<_, NetworkError>>()
        };
        let source::Kernels { forward, backward, follow } = kernels;
        let launches =
            Launches { forward: compiled(forward)?, backward: compiled(backward)?, follow: compiled(follow)? };
        let mut rooms = Vec::new();
        for step in &program.steps {
            let [partial, statistics, sums] = source::room(step, limit);
            rooms.push([driver.zeros(partial)?, driver.zeros(statistics)?, driver.zeros(sums)?]);
        }
        let tensors = tensors(&program, &rooms, specs, limit);
        let blocks = |values: usize| -> Result<Blocks, NetworkError> {
            let trained = (0..specs.len()).filter(|&index| specs[index].kind.is_trained());
            let parts =
                trained.flat_map(|index| (0..specs[index].len()).step_by(values).map(move |first| [index, first]));
            let parts: Vec<[u32; 2]> = parts.map(|part| part.map(|number| number as u32)).collect();
            let mut table = driver.zeros(2 * parts.len())?;
            driver.upload(&parts, &mut table, 0)?;
            Ok(Blocks { table, count: parts.len(), parameters: parts.iter().map(|part| part[0] as usize).collect() })
        };
        let update = blocks(THREADS)?;
        Ok(Self {
            graphs: (0..BURST / GROUP).map(|_| None).collect(),
            recorded: 0,
            launches,
            loss: module.function("loss")?,
            reduce: (module.function("reduce")?, blocks(32)?),
            maps: Maps::new(&driver, &program, 0)?,
            mail: Mail::new(&driver, 0)?,
            program,
            rooms,
            tensor_table: driver.zeros(tensors.len() * size_of::<DeviceTensor>() / 8)?,
            tensors,
            squares: driver.zeros(3 * update.count)?,
            update: (module.function("update")?, update),
            bad: driver.zeros(1)?,
            data_sets: VecDeque::new(),
            _module: module,
            driver,
        })
    }

    /// Tells the kernels where the parameters are. `place` writes the addresses into the entry of the parameter with this index.
    pub fn place(&mut self, place: impl Fn(usize, &mut DeviceTensor)) -> Result<(), NetworkError> {
        let mut tensors = self.tensors.clone();
        tensors.iter_mut().enumerate().for_each(|(index, tensor)| place(index, tensor));
        if tensors != self.tensors {
            // Kernels were recorded with the old addresses.
            self.graphs.fill_with(|| None);
            self.driver.upload(&tensors, &mut self.tensor_table, 0)?;
            self.tensors = tensors;
        }
        Ok(())
    }

    /// Trains on `batches`, at most [`BURST`] that are not empty, one after the other; `steps` has the hyperparameters of each.
    /// Gives the results up to the first that is not finite, after which the parameters did not change.
    pub fn train(&mut self, batches: &[&Batch], steps: Vec<DeviceStep>) -> Result<Vec<DeviceResult>, NetworkError> {
        let samples = batches.iter().map(|batch| batch.len()).max().unwrap_or_default();
        self.make_room(samples)?;
        self.driver.upload(&[0_u32], &mut self.bad, 0)?;
        let resident = self.send(batches, steps)?;
        let mut step = 0;
        while step < batches.len() {
            if resident && step.is_multiple_of(GROUP) && step + GROUP <= batches.len() {
                self.replay_group(step / GROUP, samples)?;
                step += GROUP;
            } else {
                if !resident {
                    // While the GPU works on the steps before, the CPU draws the images of the next.
                    self.send_pixels(batches[step], step)?;
                }
                self.training_step(step, batches[step].len())?;
                step += 1;
            }
        }
        self.results(batches)
    }

    /// The same for a single batch, and the sums of the squares of gradient, parameter and change of each parameter.
    pub fn train_measured(
        &mut self,
        batch: &Batch,
        step: DeviceStep,
    ) -> Result<(Option<DeviceResult>, Vec<[f64; 3]>), NetworkError> {
        let step = DeviceStep { squares: address(&self.squares), ..step };
        let result = self.train(&[batch], vec![step])?.pop();
        let blocks = &self.update.1;
        let mut squares = vec![0.0_f32; 3 * blocks.count];
        self.driver.download(&self.squares, &mut squares)?;
        let mut sums = vec![[0.0; 3]; self.tensors.len()];
        for (&parameter, squares) in blocks.parameters.iter().zip(squares.as_chunks::<3>().0) {
            sums[parameter].iter_mut().zip(squares).for_each(|(sum, &square)| *sum += f64::from(square));
        }
        Ok((result, sums))
    }

    /// Logits `[sample, class]` of `batch`.
    pub fn logits(&mut self, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        let values = self.answers(batch, self.program.output)?;
        Ok(values.as_chunks::<CLASSES>().0.to_vec())
    }

    /// The features of each sample of `batch`.
    pub fn features(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, NetworkError> {
        let map = self.program.features;
        if map == 0 {
            // The images themselves, which no kernel writes.
            let mut image = [0; PIXELS];
            let mut grey = |sample| {
                batch.write(sample, &mut image);
                image.iter().copied().map(normalise).collect()
            };
            return Ok((0..batch.len()).map(&mut grey).collect());
        }
        let len = self.program.maps[map].len();
        let values = self.answers(batch, map)?;
        Ok(values.chunks_exact(len).map(<[f32]>::to_vec).collect())
    }

    /// The values of `map` for each sample of `batch`, as they answer: with the moving average of the parameters, if there is one.
    fn answers(&mut self, batch: &Batch, map: usize) -> Result<Vec<f32>, NetworkError> {
        let len = self.program.maps[map].len();
        let mut all = vec![0.0; batch.len() * len];
        for start in (0..batch.len()).step_by(CHUNK) {
            let chunk = batch.part(start..batch.len().min(start + CHUNK));
            self.make_room(chunk.len())?;
            if !self.send(&[&chunk], vec![DeviceStep::default()])? {
                self.send_pixels(&chunk, 0)?;
            }
            self.launch_all(&self.launches.forward, 0, chunk.len(), Weights::Answering)?;
            let values = &mut all[start * len..][..chunk.len() * len];
            self.driver.download(&self.maps.values[map], values)?;
        }
        Ok(all)
    }

    fn make_room(&mut self, samples: usize) -> Result<(), NetworkError> {
        let most = MOST_VALUES / self.program.maps.iter().map(Map::len).max().unwrap_or(PIXELS);
        if samples > most {
            return Err(NetworkError::Unavailable(format!(
                "the GPU's kernels can't count the values of {samples} samples of this architecture: `set batch-size {most}`, \
                 or less"
            )));
        }
        if samples > self.maps.samples {
            self.graphs.fill_with(|| None);
            self.maps = Maps::new(&self.driver, &self.program, samples)?;
        }
        if samples > self.mail.samples {
            self.graphs.fill_with(|| None);
            self.mail = Mail::new(&self.driver, samples)?;
        }
        Ok(())
    }

    /// Sends what the steps of a burst need but the pixels, and says whether these are on the device already.
    fn send(&mut self, batches: &[&Batch], mut steps: Vec<DeviceStep>) -> Result<bool, NetworkError> {
        let images = batches[0].images();
        let resident = images.len() >= SMALL
            && batches.iter().all(|batch| !batch.is_augmented() && Arc::ptr_eq(batch.images(), images));
        let pixels = if resident { self.data_set(images)? } else { self.mail.pixels(&self.driver)? };
        let room = self.mail.samples;
        let mut rows = vec![0_u32; batches.len() * room];
        let mut labels = vec![0_u8; batches.len() * room];
        let lessons = self.send_lessons(batches, &steps)?;
        for (slot, (batch, step)) in batches.iter().zip(&mut steps).enumerate() {
            let rows = &mut rows[slot * room..][..batch.len()];
            if resident {
                rows.copy_from_slice(batch.indices());
            } else {
                rows.iter_mut().zip(0..).for_each(|(row, position)| *row = position);
            }
            labels[slot * room..].iter_mut().zip(batch.labels()).for_each(|(to, label)| *to = label);
            let at = |memory: Address, size: usize| memory + (slot * room * size) as u64;
            step.pixels = if resident { pixels } else { at(pixels, PIXELS) };
            step.rows = at(address(&self.mail.rows), 4);
            step.labels = at(address(&self.mail.labels), 1);
            step.lessons = if batch.is_taught() { at(lessons, 4 * CLASSES) } else { 0 };
            step.predictions = at(address(&self.mail.predictions), 1);
            step.losses = at(address(&self.mail.losses), 4);
            step.result = address(&self.mail.results) + (slot * 8) as u64;
            step.count = batch.len() as u32;
        }
        self.driver.upload(&rows, &mut self.mail.rows, 0)?;
        self.driver.upload(&labels, &mut self.mail.labels, 0)?;
        self.driver.upload(&steps, &mut self.mail.steps, 0)?;
        Ok(resident)
    }

    /// Sends what the teacher says of the samples of a burst, if it has one.
    fn send_lessons(&mut self, batches: &[&Batch], steps: &[DeviceStep]) -> Result<Address, NetworkError> {
        if !batches.iter().any(|batch| batch.is_taught()) {
            return Ok(0);
        }
        let room = self.mail.samples;
        let mut lessons = vec![[0.0; CLASSES]; batches.len() * room];
        for ((batch, step), lessons) in batches.iter().zip(steps).zip(lessons.chunks_mut(room)) {
            let said = |sample| loss::lesson(batch, sample, step.temperature, step.smoothing);
            lessons[..batch.len()].par_iter_mut().enumerate().for_each(|(sample, lesson)| *lesson = said(sample));
        }
        self.mail.send_lessons(&self.driver, &lessons)
    }

    /// Draws the images of `batch` and sends them to step `slot` of the burst.
    fn send_pixels(&mut self, batch: &Batch, slot: usize) -> Result<(), NetworkError> {
        let mut images: Vec<Image> = vec![[0; PIXELS]; batch.len()];
        images.par_iter_mut().enumerate().for_each(|(sample, image)| batch.write(sample, image));
        let offset = slot * self.mail.samples * PIXELS;
        let to = self.mail.images.as_mut().expect("room was made when the burst was sent");
        self.driver.upload(&images, to, offset)
    }

    /// Where `images` are on the device; brings them there if they are not.
    fn data_set(&mut self, images: &Arc<Images>) -> Result<Address, NetworkError> {
        if let Some((_, memory)) = self.data_sets.iter().find(|(known, _)| Arc::ptr_eq(known, images)) {
            return Ok(address(memory));
        }
        let mut memory = self.driver.zeros(images.pixels().len())?;
        self.driver.upload(images.pixels(), &mut memory, 0)?;
        self.data_sets.truncate(DATA_SETS - 1);
        let at = address(&memory);
        self.data_sets.push_front((images.clone(), memory));
        Ok(at)
    }

    /// Does the steps of a group, which have up to `samples` samples each.
    fn replay_group(&mut self, group: usize, samples: usize) -> Result<(), NetworkError> {
        if samples != self.recorded {
            // Not for as many as there is room for, which evaluation may have made much of.
            self.graphs.fill_with(|| None);
            self.recorded = samples;
        }
        if self.graphs[group].is_none() {
            let graph = self.driver.record(|| {
                (group * GROUP..(group + 1) * GROUP).try_for_each(|slot| self.training_step(slot, samples))
            })?;
            self.graphs[group] = Some(graph);
        }
        let graph = self.graphs[group].as_ref().expect("just made");
        // SAFETY: the graphs go when the memory does.
        unsafe { self.driver.replay(graph) }
    }

    /// Launches the kernels of step `slot` of the burst for up to `samples` samples; how many there are, they read themselves.
    fn training_step(&self, slot: usize, samples: usize) -> Result<(), NetworkError> {
        self.launch_all(&self.launches.forward, slot, samples, Weights::Trained)?;
        let step = self.step(slot);
        let output = self.program.output;
        let maps = &self.maps;
        self.launch(
            self.loss,
            [samples.div_ceil(128), 1, 1],
            128,
            0,
            &[step, address(&maps.values[output]), address(&maps.slopes[output])],
        )?;
        self.launch_all(&self.launches.backward, slot, samples, Weights::Trained)?;
        // The update has one block more, for the loss.
        for ((kernel, blocks), more) in [(&self.reduce, 0), (&self.update, 1)] {
            let arguments = [step, address(&self.tensor_table), address(&blocks.table), address(&self.bad)];
            self.launch(*kernel, [blocks.count + more, 1, 1], THREADS, 0, &arguments)?;
        }
        self.launch_all(&self.launches.follow, slot, samples, Weights::Trained)
    }

    /// Where step `slot` of the burst lies.
    fn step(&self, slot: usize) -> Address {
        address(&self.mail.steps) + (slot * STEP) as u64
    }

    /// Launches kernels one after the other, but those that can run beside what follows.
    fn launch_all(
        &self,
        launches: &[Launch],
        slot: usize,
        samples: usize,
        weights: Weights,
    ) -> Result<(), NetworkError> {
        let mut aside = false;
        for Launch { kernel, function } in launches {
            let mut arguments = vec![self.step(slot)];
            arguments.extend(kernel.arguments.iter().map(|&argument| self.resolve(argument, weights)));
            let grid = kernel.grid.blocks(samples);
            let launch = || self.launch(*function, grid, kernel.threads, kernel.shared, &arguments);
            if kernel.aside {
                self.driver.aside(launch)?;
            } else {
                launch()?;
            }
            aside |= kernel.aside;
        }
        if aside { self.driver.together() } else { Ok(()) }
    }

    fn resolve(&self, argument: Argument, weights: Weights) -> Address {
        match argument {
            Argument::Value(map) => address(&self.maps.values[map]),
            Argument::Slope(map) => address(&self.maps.slopes[map]),
            Argument::Maximum(map) => address(&self.maps.maxima[map]),
            Argument::Parameter(parameter) => match (weights, self.tensors[parameter]) {
                (Weights::Answering, DeviceTensor { average, .. }) if average != 0 => average,
                (_, DeviceTensor { value, .. }) => value,
            },
            Argument::Average(parameter) => self.tensors[parameter].average,
            Argument::Partial(step) => address(&self.rooms[step][0]),
            Argument::Statistics(step) => address(&self.rooms[step][1]),
            Argument::Sums(step) => address(&self.rooms[step][2]),
            Argument::Bad => address(&self.bad),
        }
    }

    fn launch(
        &self,
        kernel: Function,
        grid: [usize; 3],
        threads: usize,
        shared: usize,
        arguments: &[Address],
    ) -> Result<(), NetworkError> {
        // SAFETY: the arguments are what `source` declares, and point to memory of this engine, or of the parameters, which the
        // network that owns both keeps longer.
        unsafe { self.driver.launch(kernel, grid, threads, shared, arguments) }
    }

    fn results(&self, batches: &[&Batch]) -> Result<Vec<DeviceResult>, NetworkError> {
        let room = self.mail.samples;
        let mut results = vec![0.0_f32; 2 * batches.len()];
        let mut predictions = vec![0; batches.len() * room];
        self.driver.download(&self.mail.predictions, &mut predictions)?;
        self.driver.download(&self.mail.results, &mut results)?;
        let mut all = Vec::with_capacity(batches.len());
        for ((batch, &[loss, bad]), predictions) in
            batches.iter().zip(results.as_chunks::<2>().0).zip(predictions.chunks(room))
        {
            let loss = if bad == 0.0 { loss } else { f32::NAN };
            all.push(DeviceResult { loss, predictions: predictions[..batch.len()].to_vec() });
            if !loss.is_finite() {
                break;
            }
        }
        Ok(all)
    }
}

/// What is known of the parameters before they have a place.
fn tensors(program: &Program, rooms: &[[CudaSlice<f32>; 3]], specs: &[Spec], limit: usize) -> Vec<DeviceTensor> {
    let mut tensors = vec![DeviceTensor::default(); specs.len()];
    let mut set =
        |index: usize, partial: &CudaSlice<f32>, offset: usize, [splits, group, parts]: [usize; 3], stride: usize| {
            tensors[index] = DeviceTensor {
                partial: address(partial) + 4 * offset as u64,
                len: specs[index].len() as u32,
                splits: splits as u32,
                stride: stride as u32,
                decays: u32::from(specs[index].kind.decays()),
                group: group as u32,
                parts: parts as u32,
                ..DeviceTensor::default()
            };
        };
    for (step, [partial, _, sums]) in program.steps.iter().zip(rooms) {
        match &step.op {
            Op::Affine(affine) => {
                let weight = affine.filters * affine.depth();
                let shares = blocks::shares(affine, step.input == 0, limit);
                set(affine.parameter, partial, 0, shares, weight + affine.filters);
                set(affine.parameter + 1, partial, weight, shares, weight + affine.filters);
            }
            Op::BatchNorm { parameter, channels, .. } => {
                set(*parameter, sums, *channels, [1, 0, 1], 0);
                set(parameter + 1, sums, 0, [1, 0, 1], 0);
            }
            _ => {}
        }
    }
    tensors
}
