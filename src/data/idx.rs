//! The IDX format of MNIST's files: a check of every byte, so that what comes after it can trust them.
//!
//! ```text
//! images  00 00 08 03  count  rows  columns  then count · rows · columns grey values   (big-endian 32-bit numbers)
//! labels  00 00 08 01  count  then count labels
//! ```

use std::io::{ErrorKind, Read};

use super::{CLASSES, PIXELS, SIDE};

/// More samples than this are refused, so that a corrupt or hostile header cannot ask for all the memory: 750 MiB of images.
pub const MOST_SAMPLES: u64 = 1_000_000;

/// Which of the two kinds of file is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 28×28 grey images.
    Images,
    /// Labels below [`CLASSES`].
    Labels,
}

impl Kind {
    /// The first four bytes: two zeros, 8 for unsigned bytes, the number of dimensions.
    pub const fn magic(self) -> [u8; 4] {
        match self {
            Self::Images => [0, 0, 8, 3],
            Self::Labels => [0, 0, 8, 1],
        }
    }

    /// Bytes before the first sample.
    pub const fn header_len(self) -> usize {
        match self {
            Self::Images => 16,
            Self::Labels => 8,
        }
    }

    /// Bytes of one sample.
    pub const fn item_len(self) -> usize {
        match self {
            Self::Images => PIXELS,
            Self::Labels => 1,
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Labels => "labels",
        }
    }
}

/// A whole, checked IDX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Idx {
    /// Reads a file of this `kind` that is at most `most` bytes long; no more memory is asked for than that.
    ///
    /// # Errors
    /// If it is not exactly such a file: a sentence without the file's name.
    pub fn read(kind: Kind, mut reader: impl Read, most: u64) -> Result<Self, String> {
        let mut bytes = Vec::with_capacity(kind.header_len());
        reader.by_ref().take(kind.header_len() as u64).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        let declared = declared_len(kind, &bytes, most)?;
        bytes.reserve_exact(declared - bytes.len());
        // One byte further than declared, so that trailing bytes show and a gzip stream is read up to its checksum.
        let rest = (declared - bytes.len()) as u64 + 1;
        reader.take(rest).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if bytes.len() < declared {
            return Err(too_short(kind, declared, bytes.len() as u64));
        }
        if bytes.len() > declared {
            return Err(format!(
                "it goes on after the {declared} bytes that its header promises: it is no whole IDX file"
            ));
        }
        let idx = Self { kind, bytes };
        idx.check_labels()?;
        Ok(idx)
    }

    /// How many samples the file holds, at least 1.
    pub fn count(&self) -> usize {
        self.body().len() / self.kind.item_len()
    }

    /// The samples without the header.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.kind.header_len()..]
    }

    /// The samples without the header.
    pub fn into_body(mut self) -> Vec<u8> {
        self.bytes.drain(..self.kind.header_len());
        self.bytes
    }

    /// The whole file, not compressed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn check_labels(&self) -> Result<(), String> {
        if self.kind == Kind::Images {
            return Ok(());
        }
        match self.body().iter().position(|&label| usize::from(label) >= CLASSES) {
            None => Ok(()),
            Some(index) => Err(format!(
                "label {index} is {}, but labels go from 0 to {}: use a data set of {CLASSES} classes",
                self.body()[index],
                CLASSES - 1
            )),
        }
    }
}

/// The length in bytes of the whole file that `header`, its first bytes, announces.
fn declared_len(kind: Kind, header: &[u8], most: u64) -> Result<usize, String> {
    check_magic(kind, header)?;
    let number = |at: usize| header.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes);
    if header.len() < kind.header_len() {
        return Err(format!(
            "it ends within the header of {} bytes: the file is cut off; get it again",
            kind.header_len()
        ));
    }
    let count = u64::from(number(4).unwrap_or(0));
    let size = (number(8), number(12));
    if kind == Kind::Images && size != (Some(SIDE as u32), Some(SIDE as u32)) {
        let (rows, columns) = (size.0.unwrap_or(0), size.1.unwrap_or(0));
        return Err(format!("its images have {rows}×{columns} pixels: use a data set of {SIDE}×{SIDE} images"));
    }
    if count == 0 {
        return Err(format!("it holds no {}: use a data set with at least one sample", kind.noun()));
    }
    if count > MOST_SAMPLES {
        return Err(format!(
            "its header promises {count} {}, more than the {MOST_SAMPLES} that fit: it is damaged or no such data set",
            kind.noun()
        ));
    }
    let declared = kind.header_len() as u64 + count * kind.item_len() as u64;
    if declared > most { Err(too_short(kind, declared as usize, most)) } else { Ok(declared as usize) }
}

fn check_magic(kind: Kind, header: &[u8]) -> Result<(), String> {
    let magic = kind.magic();
    let start = &header[..header.len().min(magic.len())];
    let wanted = kind.noun();
    match start {
        [] => Err("it is empty: get it again".into()),
        _ if magic.starts_with(start) => Ok(()),
        _ if start == Kind::Images.magic() => Err(format!("it holds images where {wanted} belong: swap the files")),
        _ if start == Kind::Labels.magic() => Err(format!("it holds labels where {wanted} belong: swap the files")),
        [b'<', ..] => Err("it is a web page, not an IDX file: the download went wrong; get it again".into()),
        _ => {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            Err(format!(
                "it starts with {}, but an IDX file of {wanted} with {}: get it again",
                hex(start),
                hex(&magic)
            ))
        }
    }
}

fn too_short(kind: Kind, declared: usize, most: u64) -> String {
    let count = (declared - kind.header_len()) / kind.item_len();
    format!(
        "it is cut off: its header promises {count} {} in {declared} bytes, but it has no more than {most}; get it again",
        kind.noun()
    )
}

/// What went wrong while reading, and what to do; the gzip decoder reports damage by these kinds of I/O error.
pub fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "its gzip data is cut off: get it again".into(),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => "its gzip data is damaged: get it again".into(),
        ErrorKind::PermissionDenied => "there is no permission to read it: chmod a+r it, or run as its owner".into(),
        ErrorKind::IsADirectory => "it is a folder, but a file belongs there".into(),
        _ => format!("it cannot be read ({error}): check the disk or use another copy"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, proptest};
    use proptest::{prop_assert, prop_assert_eq};

    use super::{Idx, Kind, PIXELS};

    fn images(count: u32, side: u32, body: usize) -> Vec<u8> {
        let head = [count, side, side].map(u32::to_be_bytes).concat();
        [&Kind::Images.magic()[..], &head, &vec![7; body]].concat()
    }

    fn labels(count: u32, body: &[u8]) -> Vec<u8> {
        [&Kind::Labels.magic()[..], &count.to_be_bytes(), body].concat()
    }

    fn read(kind: Kind, bytes: &[u8]) -> Result<Idx, String> {
        Idx::read(kind, bytes, bytes.len() as u64)
    }

    #[test]
    fn a_whole_file_gives_its_samples() {
        let idx = read(Kind::Images, &images(2, 28, 2 * PIXELS)).unwrap();
        assert_eq!((idx.count(), idx.body()), (2, &[7; 2 * PIXELS][..]));
        assert_eq!(idx.into_body(), [7; 2 * PIXELS]);
        assert_eq!(read(Kind::Labels, &labels(3, &[0, 9, 5])).unwrap().into_body(), [0, 9, 5]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |kind, bytes: &[u8], part: &str| {
            let problem = read(kind, bytes).unwrap_err();
            assert!(problem.contains(part), "{problem:?} should say {part:?}");
        };
        check(Kind::Images, &[], "empty");
        check(Kind::Images, &[0, 0], "within the header of 16 bytes");
        check(Kind::Images, &images(1, 28, 0)[..15], "within the header of 16 bytes");
        check(Kind::Images, &images(1, 28, PIXELS - 1), "cut off: its header promises 1 images in 800 bytes");
        check(Kind::Images, &images(1, 28, PIXELS + 1), "goes on after the 800 bytes");
        check(Kind::Images, &images(1, 32, 32 * 32), "have 32×32 pixels");
        check(Kind::Images, &images(0, 28, 0), "holds no images");
        check(Kind::Images, &images(u32::MAX, 28, PIXELS), "promises 4294967295 images");
        check(Kind::Images, &images(1_000_000, 28, PIXELS), "no more than 800");
        check(Kind::Images, &labels(1, &[0]), "holds labels where images belong");
        check(Kind::Labels, &images(1, 28, PIXELS), "holds images where labels belong");
        check(Kind::Labels, &labels(3, &[1, 10, 2]), "label 1 is 10");
        check(Kind::Labels, &labels(3, &[1, 2]), "cut off");
        check(Kind::Labels, &labels(3, &[1, 2, 3, 4]), "goes on after the 11 bytes");
        check(Kind::Labels, &labels(0, &[]), "holds no labels");
        check(Kind::Labels, b"<!DOCTYPE html>", "web page");
        check(Kind::Labels, b"PK\x03\x04", "starts with 50 4b 03 04");
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        any::<bool>().prop_map(|images| if images { Kind::Images } else { Kind::Labels })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(kind in kinds(), bytes in vec(any::<u8>(), 0..200), most in any::<u64>()) {
            prop_assert!(Idx::read(kind, &bytes[..], most).is_err() || bytes.starts_with(&kind.magic()));
        }

        #[test]
        fn mutated_files_never_panic_and_only_whole_ones_pass(
            kind in kinds(),
            count in 0u32..4,
            cut in 0usize..3000,
            changes in vec((0usize..24, any::<u8>()), 0..4),
        ) {
            let mut bytes = match kind {
                Kind::Images => images(count, 28, count as usize * PIXELS),
                Kind::Labels => labels(count, &vec![3; count as usize]),
            };
            bytes.truncate(cut);
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            if let Ok(idx) = read(kind, &bytes) {
                prop_assert_eq!(idx.bytes(), &bytes[..]);
                prop_assert_eq!(kind.header_len() + idx.count() * kind.item_len(), bytes.len());
            }
        }

        #[test]
        fn label_files_round_trip(body in vec(0u8..10, 1..300)) {
            let bytes = labels(body.len() as u32, &body);
            prop_assert_eq!(read(Kind::Labels, &bytes).unwrap().into_body(), body);
        }
    }
}
