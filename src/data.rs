//! Images and labels: the data set, its splits, and the batches that training draws from it.

pub mod augment;
pub mod corrupt;
pub mod drawings;
#[cfg(feature = "embed-mnist")]
mod embedded;
mod folder;
pub mod idx;
pub mod load;
pub mod picture;
pub(crate) mod pixels;
pub mod teacher;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use augment::Augment;
use teacher::Teacher;

use crate::random::{Purpose, Stream};

/// Width and height of an image in pixels.
pub const SIDE: usize = 28;
/// Pixels of an image.
pub const PIXELS: usize = SIDE * SIDE;
/// Number of classes: the digits 0 to 9, or what a look-alike data set has in their place.
pub const CLASSES: usize = 10;

/// One image: grey values row by row, 0 for the background, `[height, width]`.
pub type Image = [u8; PIXELS];

/// Test digits of MNIST whose given label most human reviewers reject, or could not agree on (cleanlab's label-errors study).
pub const DOUBTFUL_TEST_LABELS: [u32; 15] =
    [947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729];

/// CRC-32 of the 10,000 test labels of MNIST.
const MNIST_TEST_LABELS: u32 = 0xee86_04d9;
/// CRC-32 of the 10,000 test labels of Fashion-MNIST (Xiao et al. 2017).
const FASHION_MNIST_TEST_LABELS: u32 = 0x242b_c73f;

/// What the classes of MNIST are called.
pub const DIGIT_CLASSES: [&str; CLASSES] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
/// What the classes of Fashion-MNIST are called.
pub const FASHION_CLASSES: [&str; CLASSES] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Why a data set could not be read. The sentence names the file and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct DataError {
    /// The file, or the folder, that is wrong.
    pub path: PathBuf,
    /// What is wrong with it and what to do.
    pub problem: String,
}

/// Labelled images, `[sample, height, width]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Images {
    /// From `labels.len()` images of [`PIXELS`] grey values each, and labels below [`CLASSES`].
    ///
    /// # Panics
    /// If the lengths don't fit each other or a label is too large: readers check their input before they call this.
    pub fn new(pixels: Vec<u8>, labels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), labels.len() * PIXELS, "as many images as labels");
        assert!(labels.iter().all(|&label| usize::from(label) < CLASSES), "labels are classes");
        Self { pixels, labels }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The image of sample `index`.
    pub fn image(&self, index: usize) -> &Image {
        let (images, _) = self.pixels.as_chunks::<PIXELS>();
        &images[index]
    }

    /// The label of sample `index`.
    pub fn label(&self, index: usize) -> u8 {
        self.labels[index]
    }

    /// The grey values of all images, one after the other.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All labels in order.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// CRC-32 of all pixels and labels.
    fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.pixels);
        hasher.update(&self.labels);
        hasher.finalize()
    }
}

/// A training set and a test set of the same kind.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What the data set is called on the screen: `MNIST`, or the name of the folder it was read from.
    pub name: String,
    /// What the classes are called, `[class]`: digits, or the clothes of Fashion-MNIST.
    pub classes: [&'static str; CLASSES],
    /// The training images; the validation split is taken from their end.
    pub train: Arc<Images>,
    /// The test images.
    pub test: Arc<Images>,
    test_labels: u32,
    fingerprint: u64,
}

impl Dataset {
    /// The data set called `name` with these images; its classes are known by the test labels.
    pub fn new(name: String, train: Images, test: Images) -> Self {
        let fingerprint = u64::from(train.checksum()) << 32 | u64::from(test.checksum());
        let test_labels = crc32fast::hash(test.labels());
        let classes = if test_labels == FASHION_MNIST_TEST_LABELS { FASHION_CLASSES } else { DIGIT_CLASSES };
        Self { name, classes, train: Arc::new(train), test: Arc::new(test), test_labels, fingerprint }
    }

    /// The data set in `folder`, or the MNIST inside the binary.
    ///
    /// # Errors
    /// If a file is missing or is not a whole IDX file of the right kind.
    pub fn open(folder: Option<&Path>) -> Result<Self, DataError> {
        match folder {
            Some(folder) => folder::read_folder(folder),
            #[cfg(feature = "embed-mnist")]
            None => embedded::mnist(),
            #[cfg(not(feature = "embed-mnist"))]
            None => Err(DataError {
                path: "mnist-lab".into(),
                problem: "this binary was built without the MNIST inside (feature `embed-mnist`): give --data DIR"
                    .into(),
            }),
        }
    }

    /// `7`, or `7 Sneaker` where the classes are no digits.
    pub fn class_name(&self, class: u8) -> String {
        let name = self.classes[usize::from(class)];
        if name == DIGIT_CLASSES[usize::from(class)] { name.into() } else { format!("{class} {name}") }
    }

    /// Whether the test digits are MNIST's own, in their order, wherever they were read from.
    pub fn is_mnist(&self) -> bool {
        self.test_labels == MNIST_TEST_LABELS
    }

    /// Whether the given label of test sample `index` is one that most reviewers reject: see [`DOUBTFUL_TEST_LABELS`].
    pub fn doubtful(&self, index: usize) -> bool {
        self.is_mnist() && u32::try_from(index).is_ok_and(|index| DOUBTFUL_TEST_LABELS.binary_search(&index).is_ok())
    }

    /// A number that tells this data set from another one, by all of its pixels and labels.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// Which training samples are trained on and which only measured.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Split {
    /// Samples to train on.
    pub train: Range<usize>,
    /// Samples to validate on: the last part of the training set, as Keras takes them.
    pub validation: Range<usize>,
}

impl Split {
    /// Splits `len` samples so that the last `fraction` of them validates: `floor(len · (1 − fraction))` are trained on,
    /// at least one. A fraction outside 0..1 is taken as the nearest that makes sense.
    pub fn new(len: usize, fraction: f64) -> Self {
        // The small addition keeps a product that is whole in decimals, such as 10 · (1 − 0.9), from falling below it.
        let trained = ((len as f64 * (1.0 - fraction) + 1e-6).floor() as usize).clamp(1.min(len), len);
        Self { train: 0..trained, validation: trained..len }
    }
}

/// Samples to go through a network together. The pixels are written where they are needed, so that workers can gather and
/// augment their own part.
#[derive(Clone, Debug)]
pub struct Batch {
    images: Arc<Images>,
    indices: Vec<u32>,
    augment: Option<(Augment, u64, u64)>,
    teacher: Option<Arc<Teacher>>,
}

impl Batch {
    /// The samples `indices` of `images` as they are.
    pub fn new(images: Arc<Images>, indices: Vec<u32>) -> Self {
        Self { images, indices, augment: None, teacher: None }
    }

    /// The same samples, augmented; the draw is named by the run's seed, the epoch and the sample's index.
    #[must_use]
    pub fn augmented(mut self, augment: Augment, seed: u64, epoch: u64) -> Self {
        self.augment = (!augment.is_none()).then_some((augment, seed, epoch));
        self
    }

    /// The same samples, of which this teacher says something; they must be of the training set.
    #[must_use]
    pub fn taught(self, teacher: Option<Arc<Teacher>>) -> Self {
        Self { teacher, ..self }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The images that it takes its samples from.
    pub const fn images(&self) -> &Arc<Images> {
        &self.images
    }

    /// Which of them are its samples.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Whether its samples differ from the images.
    pub const fn is_augmented(&self) -> bool {
        self.augment.is_some()
    }

    /// The samples at `positions` as a batch of their own.
    #[must_use]
    pub fn part(&self, positions: Range<usize>) -> Self {
        let (images, teacher) = (self.images.clone(), self.teacher.clone());
        Self { images, indices: self.indices[positions].to_vec(), augment: self.augment, teacher }
    }

    /// The labels of its samples.
    pub fn labels(&self) -> impl Iterator<Item = u8> {
        self.indices.iter().map(|&index| self.images.label(index as usize))
    }

    /// The label of the batch's sample `position`.
    pub fn label(&self, position: usize) -> u8 {
        self.images.label(self.indices[position] as usize)
    }

    /// Whether it has a teacher.
    pub const fn is_taught(&self) -> bool {
        self.teacher.is_some()
    }

    /// The teacher's logits `[class]` of the batch's sample `position`; none without a teacher, or if it does not know the sample.
    pub fn lesson(&self, position: usize) -> Option<&[f32; CLASSES]> {
        self.teacher.as_ref()?.logits.get(self.indices[position] as usize)
    }

    /// Writes the pixels of the batch's sample `position`, augmented if the batch is.
    pub fn write(&self, position: usize, out: &mut Image) {
        let index = self.indices[position];
        let image = self.images.image(index as usize);
        match &self.augment {
            None => out.copy_from_slice(image),
            Some((augment, seed, epoch)) => {
                augment.apply(image, &mut Stream::new(*seed, Purpose::Augment, [*epoch, u64::from(index)]), out);
            }
        }
    }
}
