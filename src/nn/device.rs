//! Which device and which kernels a network gets.

use std::fmt;
use std::str::FromStr;

use dfdx::tensor::Cpu;

use super::composed::Composed;
use super::fused::Fused;
use super::network::PlanNetwork;
use super::norms::LayerNorm;
use super::{BatchResult, DeviceChoice, DeviceInfo, Kernels, Network, NetworkError, NetworkState, Setup, Step};
use crate::arch::Arch;
use crate::data::{Batch, CLASSES};

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        match (text, text.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(Ok(number))) => Ok(Self::Cuda(number)),
            _ => Err(NetworkError::Unavailable(format!("`{text}` is no device: there are auto, cpu, cuda and cuda:N"))),
        }
    }
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.device == "cpu" { write!(f, "cpu×{}", self.threads) } else { f.write_str(&self.device) }
    }
}

pub(super) fn build(arch: &Arch, setup: &Setup) -> Result<(Box<dyn Network>, DeviceInfo), NetworkError> {
    match setup.device {
        DeviceChoice::Cpu => cpu(arch, setup),
        DeviceChoice::Cuda(number) => cuda(arch, setup, number),
        DeviceChoice::Auto => cuda(arch, setup, 0).or_else(|error| {
            // A program without CUDA is not expected to find a GPU.
            if cfg!(feature = "cuda") {
                tracing::warn!("computing on the CPU: {error}");
            }
            cpu(arch, setup)
        }),
    }
}

fn cpu(arch: &Arch, setup: &Setup) -> Result<(Box<dyn Network>, DeviceInfo), NetworkError> {
    if setup.kernels != Kernels::Composed {
        let plan = Fused::new(arch, setup.threads);
        let info =
            DeviceInfo { device: "cpu".into(), name: plan.level().to_string(), threads: plan.threads(), pci: None };
        let network = PlanNetwork::<f32, _, _>::new(arch, Cpu::seed_from_u64(setup.seed), plan, setup.seed)?;
        return Ok((Box::new(network), info));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(setup.threads)
        .thread_name(|index| format!("cpu-{index}"))
        .build()
        .map_err(NetworkError::device)?;
    let device = Cpu::seed_from_u64(setup.seed);
    let network = PlanNetwork::<f32, _, _>::new(arch, device.clone(), Composed::new(arch, &device)?, setup.seed)?;
    let info = DeviceInfo { device: "cpu".into(), name: simd().into(), threads: pool.current_num_threads(), pci: None };
    Ok((Box::new(Pooled { pool, network }), info))
}

#[cfg(feature = "cuda")]
fn cuda(arch: &Arch, setup: &Setup, number: usize) -> Result<(Box<dyn Network>, DeviceInfo), NetworkError> {
    use super::cuda::CudaNetwork;

    let device = gpu(number, setup.seed)?;
    let (name, pci) = super::cuda::identity(number)?;
    let info = DeviceInfo { device: format!("cuda:{number}"), name, threads: 1, pci: Some(pci) };
    if setup.kernels != Kernels::Composed {
        return Ok((Box::new(CudaNetwork::new(arch, device, setup.seed, setup.precision)?), info));
    }
    let network = PlanNetwork::<f32, _, _>::new(arch, device.clone(), Composed::new(arch, &device)?, setup.seed)?;
    Ok((Box::new(network), info))
}

/// The GPU with this number as dfdx's device.
#[cfg(feature = "cuda")]
fn gpu(number: usize, seed: u64) -> Result<dfdx::tensor::Cuda, NetworkError> {
    let missing =
        |problem: String| NetworkError::Unavailable(format!("there is no usable NVIDIA GPU {number}: {problem}"));
    // Asked first, because dfdx's device panics where there is no driver.
    let count = super::cuda::count().map_err(|error| missing(error.to_string()))?;
    if number >= count {
        return Err(missing(format!("the driver knows {count}, counted from 0")));
    }
    dfdx::tensor::Cuda::try_build(number, seed).map_err(|error| missing(error.to_string()))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: &Arch, _: &Setup, _: usize) -> Result<(Box<dyn Network>, DeviceInfo), NetworkError> {
    let problem = "this binary was built without CUDA: build with --features cuda, or use --device cpu";
    Err(NetworkError::Unavailable(problem.into()))
}

/// The name of the widest vector instructions that the CPU has.
pub fn simd() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
        "SSE2"
    }
    #[cfg(target_arch = "aarch64")]
    return "NEON";
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return "none";
}

/// A network whose parallel work runs on a pool of its own, so that it uses as many threads as were asked for.
struct Pooled<N> {
    pool: rayon::ThreadPool,
    network: N,
}

impl<N: Network + Send + Sync> Network for Pooled<N> {
    fn train(&mut self, batch: &Batch, step: &Step) -> Result<BatchResult, NetworkError> {
        self.pool.install(|| self.network.train(batch, step))
    }

    fn train_measured(&mut self, batch: &Batch, step: &Step) -> Result<(BatchResult, Vec<LayerNorm>), NetworkError> {
        self.pool.install(|| self.network.train_measured(batch, step))
    }

    fn logits(&mut self, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        self.pool.install(|| self.network.logits(batch))
    }

    fn features(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, NetworkError> {
        self.pool.install(|| self.network.features(batch))
    }

    fn state(&self) -> Result<NetworkState, NetworkError> {
        self.network.state()
    }

    fn restore(&mut self, state: &NetworkState) -> Result<(), NetworkError> {
        self.network.restore(state)
    }
}
