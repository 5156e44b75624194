//! What lies in the GPU's memory, in the layout that `kernels.cu` has for it.

use cudarc::driver::CudaSlice;

use super::driver::{Address, Driver, address};
use super::program::{After, Map, Op, Program};
use crate::data::{CLASSES, PIXELS};
use crate::nn::NetworkError;

/// The most steps of a burst.
pub const BURST: usize = 32;

/// A training step or evaluation as the kernels see it: `Step` in `kernels.cu`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct DeviceStep {
    pub pixels: Address,
    pub rows: Address,
    pub labels: Address,
    pub lessons: Address,
    pub predictions: Address,
    pub losses: Address,
    pub result: Address,
    pub squares: Address,
    pub dropout: u64,
    pub count: u32,
    pub training: u32,
    pub dropout_rate: f32,
    pub smoothing: f32,
    pub distill: f32,
    pub temperature: f32,
    pub rate: f32,
    pub decay: f32,
    pub corrections: [f32; 2],
    pub momentum: f32,
    pub keep: f32,
    pub optimizer: u32,
    pub nesterov: u32,
}

/// A parameter as the kernels see it: `Tensor` in `kernels.cu`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DeviceTensor {
    pub value: Address,
    pub moments: [Address; 2],
    pub average: Address,
    pub partial: Address,
    pub gradient: Address,
    pub len: u32,
    pub splits: u32,
    pub stride: u32,
    pub decays: u32,
    /// Parts of the work that are dealt to one of the splits at a time, or 0.
    pub group: u32,
    /// Parts that each sample is cut into for that.
    pub parts: u32,
}

/// What lies between the steps, for so many samples.
pub struct Maps {
    pub samples: usize,
    pub values: Vec<CudaSlice<f32>>,
    pub slopes: Vec<CudaSlice<f32>>,
    /// Where the maximum of each window was, two bytes each, of which fused kernels use one.
    pub maxima: Vec<CudaSlice<u16>>,
}

/// What travels with a burst, for so many samples in each of its steps.
pub struct Mail {
    pub samples: usize,
    pub steps: CudaSlice<u64>,
    pub rows: CudaSlice<u32>,
    pub labels: CudaSlice<u8>,
    pub results: CudaSlice<f32>,
    pub predictions: CudaSlice<u8>,
    pub losses: CudaSlice<f32>,
    /// Images that are not on the device, for each step of the burst; made when they are first needed.
    pub images: Option<CudaSlice<u8>>,
    /// What a teacher says, likewise.
    pub lessons: Option<CudaSlice<f32>>,
}

/// Bytes of a step in the mail.
pub const STEP: usize = size_of::<DeviceStep>();

impl Maps {
    pub fn new(driver: &Driver, program: &Program, samples: usize) -> Result<Self, NetworkError> {
        let sized = |map: &Map, wanted: bool| if wanted { samples * map.len() } else { 0 };
        // The images are read where they are.
        let values = program.maps.iter().enumerate().map(|(index, map)| driver.zeros(sized(map, index > 0)));
        let slopes = program.maps.iter().map(|map| driver.zeros(sized(map, map.trained)));
        let pooled = |index: usize| {
            program.steps.iter().any(|step| {
                let pools = match &step.op {
                    Op::Affine(affine) => affine.after == After::ReluPool,
                    Op::MaxPool { .. } => true,
                    _ => false,
                };
                step.output == index && pools
            })
        };
        let maxima = program.maps.iter().enumerate().map(|(index, map)| driver.zeros(sized(map, pooled(index))));
        Ok(Self {
            samples,
            values: values.collect::<Result<_, _>>()?,
            slopes: slopes.collect::<Result<_, _>>()?,
            maxima: maxima.collect::<Result<_, _>>()?,
        })
    }
}

impl Mail {
    pub fn new(driver: &Driver, samples: usize) -> Result<Self, NetworkError> {
        Ok(Self {
            samples,
            steps: driver.zeros(BURST * STEP / 8)?,
            rows: driver.zeros(BURST * samples)?,
            labels: driver.zeros(BURST * samples)?,
            results: driver.zeros(BURST * 2)?,
            predictions: driver.zeros(BURST * samples)?,
            losses: driver.zeros(BURST * samples)?,
            images: None,
            lessons: None,
        })
    }

    /// Where the images of a burst go.
    pub fn pixels(&mut self, driver: &Driver) -> Result<Address, NetworkError> {
        if self.images.is_none() {
            self.images = Some(driver.zeros(BURST * self.samples * PIXELS)?);
        }
        Ok(self.images.as_ref().map_or(0, address))
    }

    /// Sends what a teacher says of the samples of a burst, and says where it lies.
    pub fn send_lessons(&mut self, driver: &Driver, lessons: &[[f32; CLASSES]]) -> Result<Address, NetworkError> {
        if self.lessons.is_none() {
            self.lessons = Some(driver.zeros(BURST * self.samples * CLASSES)?);
        }
        let Some(memory) = &mut self.lessons else { return Ok(0) };
        driver.upload(lessons.as_flattened(), memory, 0)?;
        Ok(address(memory))
    }
}
