//! The CUDA driver as far as the kernels need it: memory, compilation, launches, and graphs of launches.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::{MaybeUninit, size_of_val};
use std::ptr;
use std::sync::Arc;

use cudarc::driver::{CudaDevice, CudaSlice, DevicePtr, DeviceRepr, ValidAsZeroBits, result, sys};
use cudarc::nvrtc::{CompileError, CompileOptions, compile_ptx_with_opts};

use crate::nn::NetworkError;

/// An address in the GPU's memory.
pub type Address = u64;

/// Virtual architectures that kernels are compiled for, the newest first: a GPU runs what was compiled for it or an older one.
const ARCHITECTURES: [(i32, &str); 6] = [
    (100, "compute_100"),
    (90, "compute_90"),
    (89, "compute_89"),
    (86, "compute_86"),
    (80, "compute_80"),
    (75, "compute_75"),
];

/// How many GPUs there are.
///
/// # Errors
/// If there is no driver, or it does not work.
pub fn count() -> Result<usize, NetworkError> {
    result::init().and_then(|()| result::device::get_count()).map(|count| count as usize).map_err(NetworkError::device)
}

/// What the GPU with this number calls itself, and its PCI address: `0000:3b:00.0`.
///
/// # Errors
/// If it does not work.
pub fn identity(number: usize) -> Result<(String, String), NetworkError> {
    use sys::CUdevice_attribute_enum::{
        CU_DEVICE_ATTRIBUTE_PCI_BUS_ID as BUS, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID as SLOT,
        CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID as DOMAIN,
    };
    let device = result::device::get(number as i32).map_err(NetworkError::device)?;
    let mut name = [0 as c_char; 128];
    // SAFETY: the driver writes at most as many bytes as it is told, and ends them with a zero.
    let name = unsafe {
        sys::cuDeviceGetName(name.as_mut_ptr(), name.len() as i32, device).result().map_err(NetworkError::device)?;
        CStr::from_ptr(name.as_ptr())
    };
    // SAFETY: the driver gave the device.
    let attribute = |which| unsafe { result::device::get_attribute(device, which) }.map_err(NetworkError::device);
    let (domain, bus, slot) = (attribute(DOMAIN)?, attribute(BUS)?, attribute(SLOT)?);
    Ok((name.to_string_lossy().into_owned(), format!("{domain:04x}:{bus:02x}:{slot:02x}.0")))
}

/// A GPU and the stream that all kernels run on, one after the other. The stream waits for dfdx's, and dfdx's for it.
#[derive(Debug)]
pub struct Driver {
    device: Arc<CudaDevice>,
    stream: sys::CUstream,
    /// For what can run beside it.
    side: sys::CUstream,
    event: sys::CUevent,
    /// The stream that launches go to.
    current: Cell<sys::CUstream>,
}

/// A compiled kernel; it lives as long as its [`Module`].
#[derive(Clone, Copy, Debug)]
pub struct Function(sys::CUfunction);

/// Compiled kernels.
#[derive(Debug)]
pub struct Module {
    module: sys::CUmodule,
    device: Arc<CudaDevice>,
}

/// Launches that are replayed together.
#[derive(Debug)]
pub struct Graph {
    executable: sys::CUgraphExec,
    device: Arc<CudaDevice>,
}

impl Driver {
    /// For `device`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(device: Arc<CudaDevice>) -> Result<Self, NetworkError> {
        device.bind_to_thread().map_err(NetworkError::device)?;
        let stream = || result::stream::create(result::stream::StreamKind::Default).map_err(NetworkError::device);
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(NetworkError::device)?;
        let (stream, side) = (stream()?, stream()?);
        Ok(Self { device, stream, side, event, current: Cell::new(stream) })
    }

    /// Compiles CUDA C++ for this GPU.
    ///
    /// # Errors
    /// If it does not compile, or the device fails.
    pub fn compile(&self, source: &str) -> Result<Module, NetworkError> {
        use sys::CUdevice_attribute_enum::{
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
        };
        let attribute = |which| self.device.attribute(which).map_err(NetworkError::device);
        let capability = 10 * attribute(MAJOR)? + attribute(MINOR)?;
        let mut problem = format!("no kernels for GPUs of compute capability {}.{}", capability / 10, capability % 10);
        for (_, name) in ARCHITECTURES.into_iter().filter(|&(oldest, _)| capability >= oldest) {
            let options = CompileOptions { arch: Some(name), ..CompileOptions::default() };
            match compile_ptx_with_opts(source, options) {
                Ok(ptx) => return self.load(&ptx.to_src()),
                // The compiler's first words, in one line.
                Err(CompileError::CompileError { log, .. }) => {
                    let log = log.to_string_lossy();
                    log.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().clone_into(&mut problem);
                }
                Err(error) => problem = error.to_string(),
            }
        }
        Err(NetworkError::Device(format!("NVIDIA's run-time compiler (NVRTC) refused the kernels: {problem}")))
    }

    fn load(&self, ptx: &str) -> Result<Module, NetworkError> {
        let ptx = CString::new(ptx).map_err(NetworkError::device)?;
        // SAFETY: the image is text that ends with a zero, and outlives the call.
        let module = unsafe { result::module::load_data(ptx.as_ptr().cast()) }.map_err(NetworkError::device)?;
        Ok(Module { module, device: self.device.clone() })
    }

    /// Memory for `len` values, all zero.
    ///
    /// # Errors
    /// If there is not enough.
    pub fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, len: usize) -> Result<CudaSlice<T>, NetworkError> {
        self.device.alloc_zeros(len.max(1)).map_err(NetworkError::device)
    }

    /// Writes `values` to `to`, from its start, after all that was launched before.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If they are more than fit.
    pub fn upload<T, U>(&self, values: &[T], to: &mut CudaSlice<U>, offset: usize) -> Result<(), NetworkError> {
        assert!(offset + size_of_val(values) <= bytes(to), "values fit");
        // SAFETY: the memory is as large, and the driver has read `values` when the call returns, since they are pageable.
        unsafe { result::memcpy_htod_async(address(to) + offset as u64, values, self.stream) }
            .map_err(NetworkError::device)
    }

    /// Reads `values` from the start of `from`, and waits for it and all that was launched before.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If they are more than there are.
    pub fn download<T>(&self, from: &CudaSlice<T>, values: &mut [T]) -> Result<(), NetworkError> {
        assert!(size_of_val(values) <= bytes(from), "values are there");
        // SAFETY: the memory holds values of this type, as many at least, and nothing else uses `values` until the stream is done.
        unsafe {
            result::memcpy_dtoh_async(values, address(from), self.stream)
                .and_then(|()| result::stream::synchronize(self.stream))
        }
        .map_err(NetworkError::device)
    }

    /// Lets blocks of `function` have `bytes` of shared memory, of which the kernel says nothing itself.
    ///
    /// # Errors
    /// If that is more than a multiprocessor has.
    pub fn allow_shared(&self, function: Function, bytes: usize) -> Result<(), NetworkError> {
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function belongs to a module that is loaded.
        unsafe { sys::cuFuncSetAttribute(function.0, attribute, bytes as i32) }.result().map_err(NetworkError::device)
    }

    /// The most shared memory that a block can have.
    ///
    /// # Errors
    /// If the device fails.
    pub fn most_shared(&self) -> Result<usize, NetworkError> {
        let attribute = sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        self.device.attribute(attribute).map(|bytes| bytes as usize).map_err(NetworkError::device)
    }

    /// Launches `function` on `grid` blocks of `threads` threads each, with `shared` bytes of memory for each block, after all that
    /// was launched before.
    ///
    /// # Errors
    /// If the device fails, or failed before.
    ///
    /// # Safety
    /// The arguments must be those of the kernel, and the memory that they point to must live until it is done.
    pub unsafe fn launch(
        &self,
        function: Function,
        grid: [usize; 3],
        threads: usize,
        shared: usize,
        arguments: &[Address],
    ) -> Result<(), NetworkError> {
        let mut pointers = [ptr::null_mut(); 8];
        for (pointer, argument) in pointers.iter_mut().zip(arguments) {
            *pointer = ptr::from_ref(argument).cast_mut().cast::<c_void>();
        }
        let [x, y, z] = grid.map(|blocks| blocks as u32);
        // SAFETY: promised by the caller; the driver copies the arguments before it returns.
        unsafe {
            result::launch_kernel(
                function.0,
                (x, y, z),
                (threads as u32, 1, 1),
                shared as u32,
                self.current.get(),
                &mut pointers,
            )
        }
        .map_err(NetworkError::device)
    }

    /// What `launches` launches runs after all that was launched before, but beside what follows until [`Driver::together`].
    ///
    /// # Errors
    /// If `launches` or the device fails.
    pub fn aside(&self, launches: impl FnOnce() -> Result<(), NetworkError>) -> Result<(), NetworkError> {
        self.wait(self.side, self.stream)?;
        self.current.set(self.side);
        let launched = launches();
        self.current.set(self.stream);
        launched
    }

    /// Has what follows wait for all that runs aside.
    ///
    /// # Errors
    /// If the device fails.
    pub fn together(&self) -> Result<(), NetworkError> {
        self.wait(self.stream, self.side)
    }

    /// Has `stream` wait for all that was launched on `other`.
    fn wait(&self, stream: sys::CUstream, other: sys::CUstream) -> Result<(), NetworkError> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: streams and event are ours.
        unsafe {
            result::event::record(self.event, other)
                .and_then(|()| result::stream::wait_event(stream, self.event, flags))
        }
        .map_err(NetworkError::device)
    }

    /// Records what `launches` launches, instead of doing it.
    ///
    /// # Errors
    /// If `launches` or the device fails.
    pub fn record(&self, launches: impl FnOnce() -> Result<(), NetworkError>) -> Result<Graph, NetworkError> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is ours.
        unsafe { sys::cuStreamBeginCapture_v2(self.stream, mode) }.result().map_err(NetworkError::device)?;
        let launched = launches();
        let mut graph = MaybeUninit::uninit();
        // SAFETY: a capture has begun on the stream; the graph is written if the call succeeds.
        let graph = unsafe {
            sys::cuStreamEndCapture(self.stream, graph.as_mut_ptr()).result().map_err(NetworkError::device)?;
            graph.assume_init()
        };
        launched?;
        let mut executable = MaybeUninit::uninit();
        // SAFETY: the graph was just made, and is no longer needed once it has been instantiated.
        let executable = unsafe {
            let made = sys::cuGraphInstantiateWithFlags(executable.as_mut_ptr(), graph, 0).result();
            sys::cuGraphDestroy(graph).result().and(made).map_err(NetworkError::device)?;
            executable.assume_init()
        };
        Ok(Graph { executable, device: self.device.clone() })
    }

    /// Does what was recorded, after all that was launched before.
    ///
    /// # Errors
    /// If the device fails, or failed before.
    ///
    /// # Safety
    /// The memory that its launches point to must still be there.
    pub unsafe fn replay(&self, graph: &Graph) -> Result<(), NetworkError> {
        // SAFETY: the graph lives, and its memory too, as the caller promises.
        unsafe { sys::cuGraphLaunch(graph.executable, self.stream) }.result().map_err(NetworkError::device)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A device that fails now has lost the stream anyway.
        if self.device.bind_to_thread().is_ok() {
            for stream in [self.stream, self.side] {
                // SAFETY: the stream is ours, and nobody can launch on it any more.
                let _ = unsafe { result::stream::synchronize(stream).and_then(|()| result::stream::destroy(stream)) };
            }
            // SAFETY: the event is ours.
            let _ = unsafe { result::event::destroy(self.event) };
        }
    }
}

impl Module {
    /// The kernel called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn function(&self, name: &str) -> Result<Function, NetworkError> {
        let text = CString::new(name).map_err(NetworkError::device)?;
        // SAFETY: the module is loaded.
        let function = unsafe { result::module::get_function(self.module, text) };
        function.map(Function).map_err(|error| NetworkError::Device(format!("the kernel {name}: {error}")))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.device.bind_to_thread().is_ok() {
            // SAFETY: it was loaded and is unloaded once.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.device.bind_to_thread().is_ok() {
            // SAFETY: it was instantiated and is destroyed once; the driver lets a replay that runs come to its end.
            let _ = unsafe { sys::cuGraphExecDestroy(self.executable) };
        }
    }
}

/// Where `memory` lies.
pub fn address<T>(memory: &CudaSlice<T>) -> Address {
    *memory.device_ptr()
}

fn bytes<T>(memory: &CudaSlice<T>) -> usize {
    cudarc::driver::DeviceSlice::num_bytes(memory)
}
