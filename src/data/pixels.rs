//! One value for each pixel, as serde takes it: by itself it knows no arrays of more than 32 values.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PIXELS;

/// Writes the values as a sequence.
///
/// # Errors
/// If the format refuses.
#[expect(clippy::borrowed_box, reason = "serde passes the field as it is")]
pub fn serialize<T: Serialize, S: Serializer>(values: &Box<[T; PIXELS]>, to: S) -> Result<S::Ok, S::Error> {
    values.as_slice().serialize(to)
}

/// Reads them.
///
/// # Errors
/// If there are fewer or more.
pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Box<[T; PIXELS]>, D::Error> {
    let values = Vec::<T>::deserialize(from)?;
    let len = values.len();
    values.try_into().map_err(|_| D::Error::invalid_length(len, &"one value for each pixel"))
}
