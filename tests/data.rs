//! The data layer from outside: folders of IDX files, good and bad, and the MNIST inside the binary.
#![expect(clippy::unwrap_used, reason = "a test stops at the first failure")]

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use mnist_lab::data::{Dataset, Images, PIXELS, Split};
use tempfile::TempDir;

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

fn images(count: u32) -> Vec<u8> {
    let header = [0x803, count, 28, 28].map(u32::to_be_bytes).concat();
    let pixels = (0..count as usize * PIXELS).map(|at| (at * 31 / 7) as u8);
    header.into_iter().chain(pixels).collect()
}

fn labels(count: u32) -> Vec<u8> {
    let header = [0x801, count].map(u32::to_be_bytes).concat();
    header.into_iter().chain((0..count).map(|at| (at % 10) as u8)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder with a whole small data set: 5 training and 3 test images.
fn small() -> TempDir {
    let folder = TempDir::new().unwrap();
    let put = |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
    put(TRAIN_IMAGES, images(5));
    put(TRAIN_LABELS, labels(5));
    put(TEST_IMAGES, images(3));
    put(TEST_LABELS, labels(3));
    folder
}

fn open(folder: &Path) -> Dataset {
    Dataset::open(Some(folder)).unwrap()
}

#[test]
fn a_small_data_set_is_read_raw_gzipped_and_with_a_dot_in_its_names() {
    let raw = small();
    let mixed = TempDir::new().unwrap();
    let put = |name: &str, bytes: Vec<u8>| fs::write(mixed.path().join(name), bytes).unwrap();
    put("train-images.idx3-ubyte.gz", gzip(&images(5)));
    put("train-labels.idx1-ubyte", labels(5));
    put("t10k-images-idx3-ubyte.gz", gzip(&images(3)));
    // Two gzip members make one file, and some browsers unpack a file and leave its name.
    put("t10k-labels-idx1-ubyte.gz", [gzip(&labels(3)[..4]), gzip(&labels(3)[4..])].concat());
    fs::write(mixed.path().join("notes.txt"), "not ours").unwrap();

    let (raw_set, mixed_set) = (open(raw.path()), open(mixed.path()));
    assert_eq!((raw_set.train.len(), raw_set.test.len()), (5, 3));
    assert_eq!(raw_set.train.labels(), [0, 1, 2, 3, 4]);
    assert_eq!(raw_set.train.image(4)[..], images(5)[16 + 4 * PIXELS..]);
    assert_eq!((&raw_set.train, &raw_set.test), (&mixed_set.train, &mixed_set.test));
    assert_eq!(raw_set.fingerprint(), mixed_set.fingerprint());
    assert_eq!(raw_set.name, raw.path().file_name().unwrap().to_string_lossy());
    assert_eq!((raw_set.classes[3], raw_set.is_mnist(), raw_set.doubtful(947)), ("3", false, false));
}

#[test]
fn one_changed_pixel_changes_the_fingerprint() {
    let folder = small();
    let before = open(folder.path()).fingerprint();
    let mut changed = images(3);
    changed[1000] ^= 1;
    fs::write(folder.path().join(TEST_IMAGES), changed).unwrap();
    assert_ne!(before, open(folder.path()).fingerprint());
}

/// Spoils the file called `name` of a good folder and checks that the sentence names it and says `part`.
fn check(name: &str, spoil: impl FnOnce(&Path), part: &str) {
    let folder = small();
    spoil(&folder.path().join(name));
    let error = Dataset::open(Some(folder.path())).unwrap_err();
    assert!(error.path.starts_with(folder.path().join(name)), "{error} should name {name}");
    assert!(error.problem.contains(part), "{error} should say {part:?}");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
}

fn becomes(bytes: Vec<u8>) -> impl FnOnce(&Path) {
    move |path| fs::write(path, bytes).unwrap()
}

#[test]
fn every_malformed_file_gets_a_sentence() {
    let gzipped = gzip(&images(5));
    let damaged = {
        let mut bytes = gzipped.clone();
        let checksum = bytes.len() - 6;
        bytes[checksum] ^= 1;
        bytes
    };
    check(TRAIN_IMAGES, |path| fs::remove_file(path).unwrap(), "missing");
    check(TEST_LABELS, becomes(vec![]), "empty");
    check(TRAIN_IMAGES, becomes(images(5)[..100].to_vec()), "cut off");
    check(TRAIN_IMAGES, becomes([images(5), vec![0]].concat()), "goes on after");
    check(TRAIN_IMAGES, becomes(labels(5)), "holds labels where images belong");
    check(TEST_LABELS, becomes(images(3)), "holds images where labels belong");
    check(TRAIN_LABELS, becomes(labels(4)), "holds 4 labels, but");
    check(TEST_LABELS, becomes([&labels(3)[..10], &[10]].concat()), "label 2 is 10");
    check(TEST_IMAGES, becomes(images(0)), "holds no images");
    check(TEST_IMAGES, becomes(b"<html>404</html>".to_vec()), "web page");
    check(TRAIN_IMAGES, becomes(damaged), "gzip data is damaged");
    check(TRAIN_IMAGES, becomes(gzipped[..gzipped.len() - 9].to_vec()), "gzip data is cut off");
    check(TRAIN_IMAGES, becomes(gzipped[..1].to_vec()), "starts with 1f");
    check(TRAIN_IMAGES, becomes([&gzipped[..], b"a tail of text"].concat()), "gzip data is damaged");
    check(TRAIN_IMAGES, becomes(gzip(&[images(5), vec![0; 1 << 20]].concat())), "goes on after");
    check(
        TRAIN_IMAGES,
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        "it is a folder",
    );
}

#[test]
fn a_header_cannot_ask_for_memory_that_the_file_does_not_fill() {
    let claim = |count: u32| [0x803, count, 28, 28].map(u32::to_be_bytes).concat();
    check(TRAIN_IMAGES, becomes(claim(u32::MAX)), "promises 4294967295 images");
    check(TRAIN_IMAGES, becomes(claim(1_000_000)), "no more than 16");
    check(TRAIN_IMAGES, becomes(gzip(&claim(1_000_000))), "cut off");
    // A gzip bomb: 100 MB of zeros behind a header that promises one image.
    let bomb = gzip(&[claim(1), vec![0; 100_000_000]].concat());
    check(TRAIN_IMAGES, becomes(bomb), "goes on after the 800 bytes");
}

#[test]
fn a_folder_that_is_none_gets_a_sentence() {
    let folder = small();
    let problem = |path: &Path| Dataset::open(Some(path)).unwrap_err().problem;
    assert!(problem(&folder.path().join("nowhere")).contains("no such folder"));
    assert!(problem(&folder.path().join(TRAIN_LABELS)).contains("it is no folder"));
    assert!(problem(&folder.path().join(TRAIN_LABELS).join("x")).contains("cannot be read"));
}

#[cfg(unix)]
#[test]
fn files_that_must_not_be_read_get_a_sentence() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let forbid = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    let probe = small();
    forbid(&probe.path().join(TRAIN_LABELS));
    // The superuser may read everything; there the case does not exist.
    if fs::read(probe.path().join(TRAIN_LABELS)).is_err() {
        check(TRAIN_LABELS, forbid, "no permission");
    }
    check(
        TRAIN_LABELS,
        |path| {
            fs::remove_file(path).unwrap();
            symlink("nowhere", path).unwrap();
        },
        "leads to a file that is not there",
    );
    check(
        TRAIN_LABELS,
        |path| {
            fs::remove_file(path).unwrap();
            symlink("/dev/zero", path).unwrap();
        },
        "a device or a pipe",
    );
}

#[test]
fn the_validation_split_is_the_last_part_as_keras_takes_it() {
    let check = |len, fraction, trained| {
        let split = Split::new(len, fraction);
        assert_eq!((split.train, split.validation), (0..trained, trained..len), "{fraction} of {len}");
    };
    check(60_000, 0.2, 48_000);
    check(60_000, 0.1, 54_000);
    check(60_000, 0.0, 60_000);
    check(60_000, 1.0 / 3.0, 40_000);
    check(10, 0.9, 1);
    check(7, 0.2, 5);
    check(1, 0.5, 1);
    check(0, 0.2, 0);
    check(10, 1.0, 1);
    check(10, -3.0, 10);
    check(10, f64::NAN, 1);
    check(10, f64::INFINITY, 1);
    for percent in 0..100 {
        check(60_000, f64::from(percent) / 100.0, 600 * (100 - percent as usize));
    }
}

#[cfg(feature = "embed-mnist")]
mod embedded {
    use std::collections::HashMap;
    use std::io::Read;

    use flate2::read::GzDecoder;
    use mnist_lab::data::DOUBTFUL_TEST_LABELS;
    use sha2::{Digest, Sha256};

    use super::{Dataset, Path, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, fs, open};

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/data/mnist")
    }

    #[test]
    fn the_files_are_the_real_mnist() {
        let sums = fs::read_to_string(folder().join("SHA256SUMS")).unwrap();
        let sums: HashMap<&str, &str> =
            sums.lines().filter_map(|line| line.split_once("  ").map(|(sum, name)| (name, sum))).collect();
        let check = |name: &str, bytes: &[u8]| {
            assert_eq!(sums[name], format!("{:x}", Sha256::digest(bytes)), "{name}");
        };
        for name in [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS] {
            let gzipped = fs::read(folder().join(format!("{name}.gz"))).unwrap();
            check(&format!("{name}.gz"), &gzipped);
            let mut raw = Vec::new();
            GzDecoder::new(&gzipped[..]).read_to_end(&mut raw).unwrap();
            check(name, &raw);
        }
    }

    #[test]
    fn the_mnist_in_the_binary_is_the_one_in_the_folder() {
        let (inside, outside) = (Dataset::open(None).unwrap(), open(&folder()));
        assert_eq!((inside.train.len(), inside.test.len(), inside.name.as_str()), (60_000, 10_000, "MNIST"));
        assert_eq!((inside.train.label(0), inside.test.label(0), inside.test.label(9999)), (5, 7, 6));
        assert_eq!(inside.train, outside.train);
        assert_eq!(inside.test, outside.test);
        assert_eq!(inside.fingerprint(), outside.fingerprint());
        assert!(inside.is_mnist() && outside.is_mnist());
        let doubtful: Vec<u32> = (0..20_000).filter(|&index| inside.doubtful(index as usize)).collect();
        assert_eq!(doubtful, DOUBTFUL_TEST_LABELS);
    }
}

#[test]
fn fashion_mnist_is_recognised_where_it_is_installed() {
    let folder = Path::new("/usr/share/datasets/fashion-mnist");
    if folder.exists() {
        let fashion = open(folder);
        assert_eq!((fashion.name.as_str(), fashion.train.len(), fashion.test.len()), ("fashion-mnist", 60_000, 10_000));
        assert_eq!((fashion.classes[0], fashion.classes[9]), ("T-shirt/top", "Ankle boot"));
        assert!(!fashion.is_mnist() && !fashion.doubtful(947));
    }
}

#[cfg(not(feature = "embed-mnist"))]
#[test]
fn a_binary_without_the_mnist_says_how_to_go_on() {
    assert!(Dataset::open(None).unwrap_err().problem.contains("--data DIR"));
}

#[test]
fn classes_are_named_where_they_are_no_digits() {
    let images = || Images::new(vec![0; PIXELS], vec![7]);
    let mut dataset = Dataset::new("clothes".into(), images(), images());
    assert_eq!(dataset.class_name(7), "7");
    dataset.classes[7] = "Sneaker";
    assert_eq!(dataset.class_name(7), "7 Sneaker");
}
