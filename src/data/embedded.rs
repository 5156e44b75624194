//! The MNIST inside the binary.

use super::{DataError, Dataset};

/// The real MNIST.
pub fn mnist() -> Result<Dataset, DataError> {
    super::idx::read_folder("embedded".as_ref())
}
