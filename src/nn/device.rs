//! Which device and which kernels a network gets.

use std::fmt;
use std::str::FromStr;

use dfdx::tensor::Cpu;

use super::composed::Composed;
use super::network::PlanNetwork;
use super::{BatchResult, Network, NetworkError, NetworkState, Setup, Step};
use crate::arch::Arch;
use crate::data::{Batch, CLASSES};

/// The device to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// An NVIDIA GPU if this build can use one and there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

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

/// How a network is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// The fastest that the device has.
    #[default]
    Auto,
    /// dfdx's own operations, one after the other.
    Composed,
    /// Kernels that compute several layers at once.
    Fused,
}

/// The device that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `cpu` or `cuda`.
    pub kind: &'static str,
    /// What computes: `cpu×2`, `cuda:0`.
    pub name: String,
    /// Threads that compute.
    pub threads: usize,
    /// The widest vector instructions that the CPU has.
    pub simd: &'static str,
    /// How the network is computed.
    pub kernels: Kernels,
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

pub(super) fn build(arch: &Arch, setup: &Setup) -> Result<(Box<dyn Network>, DeviceInfo), NetworkError> {
    match setup.device {
        DeviceChoice::Cpu => cpu(arch, setup),
        DeviceChoice::Cuda(number) => cuda(arch, setup, number),
        DeviceChoice::Auto => cuda(arch, setup, 0).or_else(|_| cpu(arch, setup)),
    }
}

fn cpu(arch: &Arch, setup: &Setup) -> Result<(Box<dyn Network>, DeviceInfo), NetworkError> {
    composed_only(setup.kernels)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(setup.threads)
        .thread_name(|index| format!("cpu-{index}"))
        .build()
        .map_err(NetworkError::device)?;
    let threads = pool.current_num_threads();
    let device = Cpu::seed_from_u64(setup.seed);
    let network = PlanNetwork::<f32, _, _>::new(arch, device.clone(), Composed::new(arch, &device)?, setup.seed)?;
    let info =
        DeviceInfo { kind: "cpu", name: format!("cpu×{threads}"), threads, simd: simd(), kernels: Kernels::Composed };
    Ok((Box::new(Pooled { pool, network }), info))
}

#[cfg(feature = "cuda")]
fn cuda(arch: &Arch, setup: &Setup, number: usize) -> Result<(Box<dyn Network>, DeviceInfo), NetworkError> {
    composed_only(setup.kernels)?;
    let missing = |error| NetworkError::Unavailable(format!("there is no usable NVIDIA GPU {number}: {error}"));
    let device = dfdx::tensor::Cuda::try_build(number, setup.seed).map_err(missing)?;
    let network = PlanNetwork::<f32, _, _>::new(arch, device.clone(), Composed::new(arch, &device)?, setup.seed)?;
    let name = format!("cuda:{number}");
    let info = DeviceInfo { kind: "cuda", name, threads: 1, simd: simd(), kernels: Kernels::Composed };
    Ok((Box::new(network), info))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: &Arch, _: &Setup, _: usize) -> Result<(Box<dyn Network>, DeviceInfo), NetworkError> {
    let problem = "this binary was built without CUDA: build with --features cuda, or use --device cpu";
    Err(NetworkError::Unavailable(problem.into()))
}

fn composed_only(kernels: Kernels) -> Result<(), NetworkError> {
    match kernels {
        Kernels::Auto | Kernels::Composed => Ok(()),
        Kernels::Fused => Err(NetworkError::Unavailable("there are no fused kernels for this device".into())),
    }
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

    fn logits(&mut self, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        self.pool.install(|| self.network.logits(batch))
    }

    fn state(&self) -> Result<NetworkState, NetworkError> {
        self.network.state()
    }

    fn restore(&mut self, state: &NetworkState) -> Result<(), NetworkError> {
        self.network.restore(state)
    }
}
