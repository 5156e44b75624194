//! The MNIST inside the binary: the original four files, gzipped.

use super::load::{FILES, Source, load};
use super::{DataError, Dataset};

/// The files in the order of [`FILES`].
const GZIPPED: [&[u8]; 4] = [
    include_bytes!("mnist/train-images-idx3-ubyte.gz"),
    include_bytes!("mnist/train-labels-idx1-ubyte.gz"),
    include_bytes!("mnist/t10k-images-idx3-ubyte.gz"),
    include_bytes!("mnist/t10k-labels-idx1-ubyte.gz"),
];

/// The real MNIST: 60,000 training and 10,000 test digits.
///
/// # Errors
/// Only if the binary itself is damaged: the files take the same checks as those of a folder.
pub fn mnist() -> Result<Dataset, DataError> {
    let mut files = FILES.iter().zip(GZIPPED);
    let sources = [(); 4].map(|()| {
        let ((name, _), bytes) = files.next().expect("four files");
        Source { path: format!("{name}.gz inside the binary").into(), reader: Box::new(bytes), len: bytes.len() as u64 }
    });
    load("MNIST".into(), sources)
}
