//! What a device must do beyond dfdx's own operations: move numbers in and out of its storage.

use std::ops::DerefMut;

use dfdx::dtypes::Dtype;
use dfdx::tensor::{Cache, Cpu, Gradients, Storage, Tensor};
use dfdx::tensor_ops::{Device, SumTo};

use super::NetworkError;

/// The numbers of one tensor on device `D`; on the CPU it derefs to `Vec<E>`.
pub type Values<E, D> = <D as Storage<E>>::Vec;

/// A dfdx device whose storage can be written and read from the host.
pub trait Backend<E: Dtype>: Device<E> + Cache {
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

impl<E: Dtype> Backend<E> for Cpu
where
    Self: Device<E>,
    Values<E, Self>: DerefMut<Target = Vec<E>>,
{
    fn upload(&self, values: &[E], to: &mut Values<E, Self>) -> Result<(), NetworkError> {
        to.copy_from_slice(values);
        Ok(())
    }

    fn download(&self, from: &Values<E, Self>) -> Result<Vec<E>, NetworkError> {
        Ok(from.to_vec())
    }

    fn all_finite(&self, values: &Values<E, Self>) -> Result<bool, NetworkError> {
        // A number times 0 is 0 unless it is NaN or infinite.
        Ok(values.iter().all(|&value| value * E::default() == E::default()))
    }
}

#[cfg(feature = "cuda")]
impl Backend<f32> for dfdx::tensor::Cuda {
    fn upload(&self, values: &[f32], to: &mut Values<f32, Self>) -> Result<(), NetworkError> {
        let device = to.device();
        device.htod_sync_copy_into(values, to).map_err(NetworkError::device)
    }

    fn download(&self, from: &Values<f32, Self>) -> Result<Vec<f32>, NetworkError> {
        from.device().dtoh_sync_copy(from).map_err(NetworkError::device)
    }
}
