//! NVIDIA's management library, loaded at run time: what the GPU of a run does, and which GPUs there are.

use std::ffi::OsStr;

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use crate::lab::gauge::Look;
use crate::nn::DeviceInfo;
use crate::state::{GpuFigure, GpuReading, Part};

/// What comes with every driver; the name without a number is only there for those who compile against it.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// Bytes of a MiB.
const MEBIBYTE: u64 = 1 << 20;

/// Where a GPU is found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// By its PCI address.
    Address(String),
    /// By its number, where the address is not known. That is right for a machine's only GPU; `CUDA_VISIBLE_DEVICES` and CUDA's
    /// habit of counting the fastest first may make CUDA's numbers other than the driver's.
    Number(u32),
}

/// Looks at the GPU that a run is on; there is nothing to look at on the CPU. The library is loaded with the first look.
pub fn meter(device: &DeviceInfo) -> Option<Look> {
    meter_of(LIBRARY.into(), device)
}

fn meter_of(library: String, device: &DeviceInfo) -> Option<Look> {
    let place = Place::of(device)?;
    let mut loaded = None;
    Some(Box::new(move || {
        if loaded.is_none() {
            loaded =
                Some(load(&library).inspect_err(|error| tracing::debug!("no GPU can be looked at: {error}")).ok()?);
        }
        read(&place.find(loaded.as_ref()?).ok()?)
    }))
}

impl Place {
    fn of(device: &DeviceInfo) -> Option<Self> {
        let number = device.device.strip_prefix("cuda:")?.parse().ok()?;
        Some(device.pci.clone().map_or(Self::Number(number), Self::Address))
    }

    fn find<'n>(&self, nvml: &'n Nvml) -> Result<Device<'n>, NvmlError> {
        match self {
            Self::Address(address) => nvml.device_by_pci_bus_id(address.as_str()),
            Self::Number(number) => nvml.device_by_index(*number),
        }
    }
}

fn load(library: &str) -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(OsStr::new(library)).init()
}

/// All that the driver tells of a GPU; `None` if that is nothing.
fn read(gpu: &Device) -> Option<GpuReading> {
    let watts = |milliwatts: u32| (milliwatts + 500) / 1000;
    let power = |used| Part { used: watts(used), of: gpu.enforced_power_limit().ok().map(watts) };
    let reading = GpuReading {
        utilisation: gpu.utilization_rates().ok().map(|rates| rates.gpu.min(100) as u8),
        memory: memory(gpu),
        temperature: gpu.temperature(TemperatureSensor::Gpu).ok().and_then(|degrees| degrees.try_into().ok()),
        power: gpu.power_usage().ok().map(power),
    };
    (reading != GpuReading::default()).then_some(reading)
}

fn memory(gpu: &Device) -> Option<Part> {
    let mebibytes = |bytes: u64| u32::try_from(bytes / MEBIBYTE).ok();
    let memory = gpu.memory_info().ok()?;
    Some(Part { used: mebibytes(memory.used)?, of: mebibytes(memory.total) })
}

/// NVIDIA's driver on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// There is none, or none that runs.
    Absent,
    /// It is there and does not answer; the sentence is its own.
    Silent(String),
    /// It runs.
    Present {
        /// As in `580.65.06`.
        version: String,
        /// Name and memory of each GPU, in the driver's order.
        gpus: Vec<String>,
    },
}

/// What the driver tells of itself.
pub fn driver() -> Driver {
    driver_of(LIBRARY)
}

fn driver_of(library: &str) -> Driver {
    let told = load(library).and_then(|nvml| {
        let version = nvml.sys_driver_version()?;
        let gpus = (0..nvml.device_count()?).map(|number| nvml.device_by_index(number).and_then(|gpu| describe(&gpu)));
        Ok(Driver::Present { version, gpus: gpus.collect::<Result<_, _>>()? })
    });
    match told {
        Ok(driver) => driver,
        Err(NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded) => Driver::Absent,
        Err(error) => Driver::Silent(error.to_string()),
    }
}

/// `NVIDIA H100 80GB HBM3, 0.4/80 GiB in use`
fn describe(gpu: &Device) -> Result<String, NvmlError> {
    let name = gpu.name()?;
    let reading = GpuReading { memory: memory(gpu), ..GpuReading::default() };
    Ok(match GpuFigure::Memory.text(&reading) {
        Some(memory) => format!("{name}, {memory} in use"),
        None => name,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::{Driver, Place, driver_of, meter, meter_of};
    use crate::nn::DeviceInfo;
    use crate::state::{GpuReading, Part};

    fn device(device: &str, pci: Option<&str>) -> DeviceInfo {
        DeviceInfo { device: device.into(), name: String::new(), threads: 1, pci: pci.map(Into::into) }
    }

    /// A library in `folder` that stands in for NVIDIA's, whose loading returns this code.
    fn stand_in(folder: &Path, code: u32) -> String {
        let library = folder.join("libnvidia-ml.so.1").to_string_lossy().into_owned();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver/nvml.c");
        let flags = [&format!("-DINIT={code}"), "-shared", "-fPIC", "-o", &library];
        let compiled = Command::new("cc").args(flags).arg(source).status().expect("the compiler that Rust links with");
        assert!(compiled.success());
        library
    }

    #[test]
    fn a_gpu_is_found_by_its_address_before_its_number() {
        assert_eq!(Place::of(&device("cuda:1", None)), Some(Place::Number(1)));
        let address = Place::Address("0000:3b:00.0".into());
        assert_eq!(Place::of(&device("cuda:1", Some("0000:3b:00.0"))), Some(address));
        assert_eq!(Place::of(&device("cpu", None)), None);
        assert!(meter(&device("cpu", None)).is_none(), "the CPU is not looked at");
    }

    #[test]
    fn without_a_driver_there_is_nothing_to_see() {
        let absent = "libnvidia-ml-that-is-not-there.so.1";
        assert_eq!(driver_of(absent), Driver::Absent);
        let mut look = meter_of(absent.into(), &device("cuda:0", None)).unwrap();
        assert_eq!(look(), None);
    }

    #[test]
    fn what_the_driver_tells_is_read_and_what_it_does_not_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let library = stand_in(folder.path(), 0);
        let gpus = ["NVIDIA H100 80GB HBM3, 2.1/80 GiB in use", "NVIDIA T400, 2.1/4.0 GiB in use"];
        let present = Driver::Present { version: "580.65.06".into(), gpus: gpus.map(String::from).into() };
        assert_eq!(driver_of(&library), present);
        let look = |device: DeviceInfo| meter_of(library.clone(), &device).unwrap()();
        let whole = GpuReading {
            utilisation: Some(87),
            memory: Some(Part { used: 2150, of: Some(81_559) }),
            temperature: Some(61),
            power: Some(Part { used: 320, of: Some(700) }),
        };
        assert_eq!(look(device("cuda:0", None)), Some(whole));
        assert_eq!(look(device("cuda:1", Some("0000:3b:00.0"))), Some(whole), "the number alone would mean the other");
        let memory = Some(Part { used: 2150, of: Some(4096) });
        let part = GpuReading { utilisation: None, memory, power: None, ..whole };
        assert_eq!(look(device("cuda:1", None)), Some(part));
        assert_eq!(look(device("cuda:2", None)), None);
        assert_eq!(look(device("cuda:0", Some("0000:ff:00.0"))), None);
    }

    #[test]
    fn a_driver_that_does_not_run_is_none_and_one_that_fails_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, code| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            driver_of(&stand_in(&folder, code))
        };
        assert_eq!(of("not_loaded", 9), Driver::Absent);
        let Driver::Silent(sentence) = of("mismatch", 18) else { panic!("it answers") };
        assert!(sentence.contains("version"), "{sentence}");
    }
}
