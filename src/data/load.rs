//! From four opened files to a data set: unpacks them side by side, checks them, and lets the `mnist` crate parse.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::thread;

use flate2::bufread::MultiGzDecoder;
use mnist::MnistBuilder;

use super::idx::{Idx, Kind, unreadable};
use super::{DataError, Dataset, Images};

/// The names and kinds of the four files, in the order in which they are handed over.
pub const FILES: [(&str, Kind); 4] = [
    ("train-images-idx3-ubyte", Kind::Images),
    ("train-labels-idx1-ubyte", Kind::Labels),
    ("t10k-images-idx3-ubyte", Kind::Images),
    ("t10k-labels-idx1-ubyte", Kind::Labels),
];

/// The sizes that the `mnist` crate insists on.
const MNIST_SIZES: (usize, usize) = (60_000, 10_000);

/// One deflated byte holds no more than this many (258 bytes in two bits), which bounds what a small file can unpack to.
const MOST_INFLATED: u64 = 1032;

/// A file that is open, raw or gzipped.
pub struct Source {
    /// Where it is, for the error message.
    pub path: PathBuf,
    /// Its content.
    pub reader: Box<dyn Read + Send>,
    /// Its length in bytes.
    pub len: u64,
}

/// Makes the data set called `name` of the four files in the order of [`FILES`].
///
/// # Errors
/// If one is not a whole IDX file of the right kind, or holds more or fewer samples than its partner.
pub fn load(name: String, sources: [Source; 4]) -> Result<Dataset, DataError> {
    let paths = sources.each_ref().map(|source| source.path.clone());
    let read = thread::scope(|scope| {
        let mut kinds = FILES.iter().map(|&(_, kind)| kind);
        let threads = sources.map(|source| {
            let kind = kinds.next().expect("a kind for each of the four");
            scope.spawn(move || read(kind, source))
        });
        threads.map(|thread| thread.join().expect("reading doesn't panic"))
    });
    let [train_images, train_labels, test_images, test_labels] = read;
    let files = [train_images?, train_labels?, test_images?, test_labels?];
    for (images, labels) in [(0, 1), (2, 3)] {
        let counts = (files[images].count(), files[labels].count());
        if counts.0 != counts.1 {
            return Err(DataError {
                path: paths[labels].clone(),
                problem: format!(
                    "it holds {} labels, but {} holds {} images: take both files from the same data set",
                    counts.1,
                    paths[images].display(),
                    counts.0
                ),
            });
        }
    }
    let (train, test) = parse(files);
    Ok(Dataset::new(name, train, test))
}

fn read(kind: Kind, source: Source) -> Result<Idx, DataError> {
    let mut reader = BufReader::with_capacity(1 << 16, source.reader);
    let idx = match reader.fill_buf() {
        Err(error) => Err(unreadable(&error)),
        // Told by its content, since browsers unpack files and keep the name.
        Ok([0x1f, 0x8b, ..]) => Idx::read(kind, MultiGzDecoder::new(reader), source.len.saturating_mul(MOST_INFLATED)),
        Ok(_) => Idx::read(kind, reader, source.len),
    };
    idx.map_err(|problem| DataError { path: source.path, problem })
}

/// Training and test images of checked files. The `mnist` crate knows only MNIST's own sizes and only files on disk; other
/// sizes, or no temporary folder to be had, take the same bytes as they are.
fn parse(files: [Idx; 4]) -> (Images, Images) {
    let folder = ((files[0].count(), files[2].count()) == MNIST_SIZES).then(|| unpack(&files)).flatten();
    if let Some(folder) = folder
        && let Some(path) = folder.path().to_str()
    {
        // Before the parser allocates as much again.
        drop(files);
        return parse_with_mnist_crate(path);
    }
    let [train_images, train_labels, test_images, test_labels] = files.map(Idx::into_body);
    (Images::new(train_images, train_labels), Images::new(test_images, test_labels))
}

/// The raw files in a temporary folder, if one can be written.
fn unpack(files: &[Idx; 4]) -> Option<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("mnist-lab-").tempdir().ok()?;
    for (file, (name, _)) in files.iter().zip(FILES) {
        std::fs::write(folder.path().join(name), file.bytes()).ok()?;
    }
    Some(folder)
}

fn parse_with_mnist_crate(folder: &str) -> (Images, Images) {
    let (train, test) = MNIST_SIZES;
    let mut parsed = MnistBuilder::new()
        .label_format_digit()
        .base_path(folder)
        .training_set_length(train as u32)
        .test_set_length(test as u32)
        .finalize();
    // The crate appends the test images to the training images before it splits them, and leaves the room.
    parsed.trn_img.shrink_to_fit();
    (Images::new(parsed.trn_img, parsed.trn_lbl), Images::new(parsed.tst_img, parsed.tst_lbl))
}
