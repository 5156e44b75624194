//! A small data set in the place of MNIST, so that an epoch takes a moment: the first digits of the real one.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flate2::read::GzDecoder;

const TRAIN: usize = 600;
const TEST: usize = 200;

/// A folder with four IDX files of 600 training and 200 test digits.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("digits-{TRAIN}-{TEST}"));
        fs::create_dir_all(&folder).unwrap();
        for (name, header, item, count) in [
            ("train-images-idx3-ubyte", 16, 28 * 28, TRAIN),
            ("train-labels-idx1-ubyte", 8, 1, TRAIN),
            ("t10k-images-idx3-ubyte", 16, 28 * 28, TEST),
            ("t10k-labels-idx1-ubyte", 8, 1, TEST),
        ] {
            let bytes = first_items(name, header, item, count);
            // Another test may be reading: the file is there whole or not at all.
            let temporary = tempfile::NamedTempFile::new_in(&folder).unwrap();
            fs::write(temporary.path(), bytes).unwrap();
            temporary.persist(folder.join(name)).unwrap();
        }
        folder
    })
}

/// The first `count` items of a file of the real MNIST, under a header that says so.
fn first_items(name: &str, header: usize, item: usize, count: usize) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/data/mnist").join(format!("{name}.gz"));
    let mut bytes = vec![0; header + count * item];
    GzDecoder::new(fs::File::open(path).unwrap()).read_exact(&mut bytes).unwrap();
    bytes[4..8].copy_from_slice(&(count as u32).to_be_bytes());
    bytes
}
