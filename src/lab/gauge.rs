//! The gauge: looks at the run's GPU once a second, on a thread of its own, so that a slow driver slows nothing.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::engine::Engine;
use crate::nn::DeviceInfo;
use crate::state::{GpuReading, GpuSample, LabEvent};

/// Between two looks, and at rest between two looks at what the gauge saw.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Looks once; `None` if there is nothing to be seen any more. It may wait for the driver.
pub type Look = Box<dyn FnMut() -> Option<GpuReading> + Send>;

/// What looks at a device; `None` if it is none that can be looked at, such as a CPU. It must not wait. The lab does not know
/// the drivers: whoever starts the lab brings it.
pub type Meter = fn(&DeviceInfo) -> Option<Look>;

/// The thread that looks; it ends when this is dropped.
#[derive(Debug)]
pub struct Gauge {
    device: DeviceInfo,
    samples: Receiver<GpuSample>,
    _stop: Sender<()>,
}

/// What a gauge saw.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing that is new.
    Same,
    /// Something else than before.
    New(GpuSample),
    /// It looks no more.
    Ended,
}

impl Gauge {
    /// Begins to look at `device`, if that can be looked at and the system gives a thread.
    pub fn start(meter: Meter, device: &DeviceInfo, interval: Duration) -> Option<Self> {
        let mut look = meter(device)?;
        let (sender, samples) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        let work = move || {
            let begun = Instant::now();
            let mut last = None;
            while let Some(reading) = look() {
                let sample = GpuSample { seconds: begun.elapsed().as_secs() as u32, reading };
                if last != Some(reading) && sender.send(sample).is_err() {
                    return;
                }
                last = Some(reading);
                if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        // Nobody waits for its end: a driver that hangs must not keep the program from leaving.
        thread::Builder::new().name("gpu".into()).spawn(work).ok()?;
        Some(Self { device: device.clone(), samples, _stop: stop })
    }

    /// What it saw next, without waiting.
    pub fn seen(&self) -> Seen {
        match self.samples.try_recv() {
            Ok(sample) => Seen::New(sample),
            Err(TryRecvError::Empty) => Seen::Same,
            Err(TryRecvError::Disconnected) => Seen::Ended,
        }
    }
}

impl Engine<'_> {
    /// Looks at the GPU of the run that took the stage.
    pub(super) fn watch_device(&mut self, device: &DeviceInfo) {
        if self.gauge.as_ref().is_none_or(|gauge| gauge.device != *device) {
            self.gauge = Gauge::start(self.options.meter, device, INTERVAL);
        }
    }

    /// Tells what the gauge saw meanwhile.
    pub(super) fn read_gauge(&mut self) {
        while let Some(gauge) = &self.gauge {
            match gauge.seen() {
                Seen::Same => return,
                Seen::New(sample) => self.publisher.emit(LabEvent::Gpu(Some(sample))),
                Seen::Ended => {
                    self.gauge = None;
                    self.publisher.emit(LabEvent::Gpu(None));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Gauge, Meter, Seen};
    use crate::nn::DeviceInfo;
    use crate::state::GpuReading;

    fn device() -> DeviceInfo {
        DeviceInfo { device: "cuda:0".into(), name: "made up".into(), threads: 1, pci: None }
    }

    /// What a gauge on `meter` sees until it ends: how busy the GPU is.
    fn seen(meter: Meter) -> Vec<Option<u8>> {
        let gauge = Gauge::start(meter, &device(), Duration::from_millis(1)).unwrap();
        let mut readings = Vec::new();
        loop {
            match gauge.seen() {
                Seen::New(sample) => readings.push(sample.reading.utilisation),
                Seen::Same => std::thread::yield_now(),
                Seen::Ended => return readings,
            }
        }
    }

    #[test]
    fn only_what_is_new_is_told_and_the_end() {
        let meter: Meter = |_| {
            let mut busy = [40, 40, 41, 41, 41, 40].into_iter();
            Some(Box::new(move || Some(GpuReading { utilisation: Some(busy.next()?), ..GpuReading::default() })))
        };
        assert_eq!(seen(meter), [Some(40), Some(41), Some(40)]);
        assert_eq!(seen(|_| Some(Box::new(|| None))), []);
    }

    #[test]
    fn what_can_not_be_looked_at_has_no_thread() {
        assert!(Gauge::start(|_| None, &device(), Duration::from_millis(1)).is_none());
    }

    #[test]
    fn the_thread_ends_with_the_gauge() {
        use std::sync::atomic::{AtomicU32, Ordering};
        static ALIVE: AtomicU32 = AtomicU32::new(0);
        struct Alive;
        impl Drop for Alive {
            fn drop(&mut self) {
                ALIVE.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let meter: Meter = |_| {
            ALIVE.fetch_add(1, Ordering::SeqCst);
            let alive = Alive;
            Some(Box::new(move || {
                let _ = &alive;
                Some(GpuReading::default())
            }))
        };
        drop(Gauge::start(meter, &device(), Duration::from_mins(10)));
        while ALIVE.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
    }
}
