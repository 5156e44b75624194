//! What a device must do beyond dfdx's own operations: move numbers in and out of its storage.

use std::ops::DerefMut;

use dfdx::dtypes::Dtype;
use dfdx::optim::{SgdConfig, WeightDecay};
use dfdx::shapes::Shape;
use dfdx::tensor::{Cache, Cpu, Gradients, Storage, Tensor, ZerosTensor};
use dfdx::tensor_ops::{Device, SumTo};

use super::NetworkError;
use super::param::number;

/// The numbers of one tensor on device `D`; on the CPU it derefs to `Vec<E>`.
pub type Values<E, D> = <D as Storage<E>>::Vec;

/// A dfdx device whose storage can be written and read from the host.
pub trait Backend<E: Dtype>: Device<E> + Cache {
    /// Whether the storage lies in the host's memory, so that reading it costs a copy and no wait.
    const ON_HOST: bool;

    /// Overwrites `to` by `values`, which must be as many.
    ///
    /// # Errors
    /// If the device fails.
    fn upload(&self, values: &[E], to: &mut Values<E, Self>) -> Result<(), NetworkError>;

    /// A copy of `from` on the host.
    ///
    /// # Errors
    /// If the device fails.
    fn download(&self, from: &Values<E, Self>) -> Result<Vec<E>, NetworkError>;

    /// Whether no number in `values` is NaN or infinite.
    ///
    /// # Errors
    /// If the device fails.
    fn all_finite(&self, values: &Values<E, Self>) -> Result<bool, NetworkError> {
        let sum = self.tensor_of(values)?.try_sum::<(), _>().map_err(NetworkError::device)?;
        Ok(sum.as_vec()[0].to_f64().is_some_and(f64::is_finite))
    }

    /// Moves `values` towards `target`, which must be as many: `v ← v + share·(target − v)`.
    ///
    /// # Errors
    /// If the device fails.
    fn approach(&self, values: &mut Values<E, Self>, target: &Values<E, Self>, share: f64) -> Result<(), NetworkError> {
        descend(self, values, target, share)
    }

    /// A tensor of row numbers.
    ///
    /// # Errors
    /// If the device fails.
    fn rows(&self, values: &[usize]) -> Result<Tensor<(usize,), usize, Self>, Self::Err>;

    /// A tensor that holds `values`. Unlike dfdx's `tensor_from_vec` it takes its memory from dfdx's cache, where it goes when
    /// it is dropped: the cache would else grow by each tensor that was made.
    ///
    /// # Errors
    /// If the device fails.
    fn tensor<S: Shape>(&self, values: &[E], shape: S) -> Result<Tensor<S, E, Self>, Self::Err> {
        let mut tensor = self.try_zeros_like(&shape)?;
        tensor.copy_from(values);
        Ok(tensor)
    }

    /// New storage that holds `values`.
    ///
    /// # Errors
    /// If the device fails.
    fn store(&self, values: &[E]) -> Result<Values<E, Self>, NetworkError> {
        let mut storage = self.zeros_of(values.len())?;
        self.upload(values, &mut storage)?;
        Ok(storage)
    }

    /// New storage of `len` zeros.
    ///
    /// # Errors
    /// If the device fails.
    fn zeros_of(&self, len: usize) -> Result<Values<E, Self>, NetworkError> {
        Storage::<E>::try_alloc_len(self, len).map_err(NetworkError::device)
    }

    /// A copy of `values` as a tensor of `len` numbers. dfdx lets nobody outside build a tensor from storage, but hands out
    /// gradients as tensors, so the values pass through as one.
    ///
    /// # Errors
    /// If the device fails.
    fn tensor_of(&self, values: &Values<E, Self>) -> Result<Tensor<(usize,), E, Self>, NetworkError> {
        let key = self.try_zeros_like(&(Storage::<E>::len(self, values),)).map_err(NetworkError::device)?;
        let mut carrier = Gradients::leaky();
        values.clone_into(carrier.get_or_alloc_mut(&key).map_err(NetworkError::device)?);
        Ok(carrier.get(&key))
    }
}

/// [`Backend::approach`] by dfdx's SGD: a learning rate of −share and an L2 of −1, the target being the gradient.
fn descend<E: Dtype, D: Backend<E>>(
    device: &D,
    values: &mut Values<E, D>,
    target: &Values<E, D>,
    share: f64,
) -> Result<(), NetworkError> {
    let config = SgdConfig { lr: -share, momentum: None, weight_decay: Some(WeightDecay::L2(-1.0)) };
    let mut velocity = device.zeros_of(Storage::<E>::len(device, values))?;
    device.sgd_kernel(&config, values, &mut velocity, target).map_err(NetworkError::device)
}

impl<E: Dtype> Backend<E> for Cpu
where
    Self: Device<E>,
    Values<E, Self>: DerefMut<Target = Vec<E>>,
{
    const ON_HOST: bool = true;

    fn upload(&self, values: &[E], to: &mut Values<E, Self>) -> Result<(), NetworkError> {
        to.copy_from_slice(values);
        Ok(())
    }

    fn download(&self, from: &Values<E, Self>) -> Result<Vec<E>, NetworkError> {
        Ok(from.to_vec())
    }

    fn rows(&self, values: &[usize]) -> Result<Tensor<(usize,), usize, Self>, Self::Err> {
        let mut tensor = ZerosTensor::<usize>::try_zeros_like(self, &(values.len(),))?;
        tensor.copy_from(values);
        Ok(tensor)
    }

    fn all_finite(&self, values: &Values<E, Self>) -> Result<bool, NetworkError> {
        // A number times 0 is 0 unless it is NaN or infinite.
        Ok(values.iter().fold(true, |finite, &value| finite & (value * E::default() == E::default())))
    }

    fn approach(&self, values: &mut Values<E, Self>, target: &Values<E, Self>, share: f64) -> Result<(), NetworkError> {
        let share = number::<E>(share);
        values.iter_mut().zip(target.iter()).for_each(|(value, &target)| *value += share * (target - *value));
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Backend<f32> for dfdx::tensor::Cuda {
    const ON_HOST: bool = false;

    fn upload(&self, values: &[f32], to: &mut Values<f32, Self>) -> Result<(), NetworkError> {
        let device = to.device();
        device.htod_sync_copy_into(values, to).map_err(NetworkError::device)
    }

    fn download(&self, from: &Values<f32, Self>) -> Result<Vec<f32>, NetworkError> {
        from.device().dtoh_sync_copy(from).map_err(NetworkError::device)
    }
    fn rows(&self, values: &[usize]) -> Result<Tensor<(usize,), usize, Self>, Self::Err> {
        let mut tensor = ZerosTensor::<usize>::try_zeros_like(self, &(values.len(),))?;
        tensor.copy_from(values);
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::Cpu;

    use super::{Backend, descend};

    #[test]
    fn other_devices_approach_by_the_same_arithmetic() {
        let (device, share) = (Cpu::default(), 0.0137);
        let number = |i: u32| (i * i % 97) as f32 / 7.0 - 5.0;
        let store = |values: &[f32]| device.store(values).expect("the CPU does not fail");
        let (from, target): (Vec<f32>, Vec<f32>) = (0..100).map(|i| (number(i), number(3 * i + 1))).unzip();
        let (mut plain, mut by_dfdx, target_values) = (store(&from), store(&from), store(&target));
        device.approach(&mut plain, &target_values, share).expect("the CPU does not fail");
        descend(&device, &mut by_dfdx, &target_values, share).expect("the CPU does not fail");
        let (plain, by_dfdx): (Vec<f32>, Vec<f32>) = (plain.to_vec(), by_dfdx.to_vec());
        assert_eq!(plain, by_dfdx);
        for ((value, from), target) in plain.iter().zip(&from).zip(&target) {
            assert!((value - (from + share as f32 * (target - from))).abs() < 1e-6, "{value}");
        }
    }
}
