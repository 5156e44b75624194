//! What `export` takes: a format, a file, and how numbers are kept in it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::CommandError;

/// What to write for other programs, and where.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ExportArgs {
    /// Which format; what the file's name ends with if not given
    #[arg(long, value_enum)]
    pub to: Option<ModelFormat>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How the numbers of a TensorFlow Lite file are kept
    #[arg(long, value_enum, default_value_t)]
    pub quantize: Quantization,
}

/// A format of model files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelFormat {
    /// Open Neural Network Exchange
    Onnx,
    /// TensorFlow Lite
    Tflite,
    /// Keras 3
    Keras,
    /// Keras 2 and 3, HDF5
    H5,
    /// Weights with the names and layout of `torch.nn`
    Safetensors,
}

impl ModelFormat {
    /// The word for it, which its files end with.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Tflite => "tflite",
            Self::Keras => "keras",
            Self::H5 => "h5",
            Self::Safetensors => "safetensors",
        }
    }
}

impl ExportArgs {
    /// The format that was asked for, or that the file's name tells.
    ///
    /// # Errors
    /// If neither tells, or the format has no quantisation.
    pub fn format(&self) -> Result<ModelFormat, CommandError> {
        let ending = self.output.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let Some(format) = self.to.or_else(|| ModelFormat::from_str(ending, true).ok()) else {
            return Err(CommandError(format!(
                "{}: the name tells no format: let it end with .onnx, .tflite, .keras, .h5 or .safetensors, or give --to",
                self.output.display()
            )));
        };
        if self.quantize != Quantization::None && format != ModelFormat::Tflite {
            return Err(CommandError(format!("{} files are not quantised: leave --quantize out", format.word())));
        }
        Ok(format)
    }
}

/// How the numbers of a TensorFlow Lite file are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Quantization {
    /// 32-bit floating point
    #[default]
    None,
    /// Weights in 16-bit floating point
    F16,
    /// Weights in 8-bit integers; activations when it runs
    Dynamic,
    /// All in 8-bit integers, ranges measured on training images
    Int8,
}

impl Quantization {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::F16 => "f16",
            Self::Dynamic => "dynamic",
            Self::Int8 => "int8",
        }
    }
}
