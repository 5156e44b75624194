//! Digits drawn by hand, kept to try later networks on: a folder of PNG files whose names begin with the label.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, ErrorKind, Write};
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage, ImageFormat};

use super::{CLASSES, DataError, Image, SIDE};

/// The folder may hold this many: all are read whenever they are listed.
pub const MOST_DRAWINGS: usize = 1000;

/// The folder that drawings are kept in. It is made when the first one is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawings {
    folder: PathBuf,
}

/// A kept drawing: `7-0003.png`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// The digit that it is meant to be.
    pub label: u8,
    /// Its file's name.
    pub name: String,
}

impl Drawing {
    /// The drawing in the file of this name, if it can be one.
    pub fn of_file(name: &str) -> Option<Self> {
        let (label, number) = name.strip_suffix(".png")?.split_once('-')?;
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let label = label.parse().ok().filter(|&value: &u8| label.len() == 1 && usize::from(value) < CLASSES)?;
        plain.then(|| Self { label, name: name.into() })
    }

    fn number(&self) -> u64 {
        self.name[2..self.name.len() - ".png".len()].parse().unwrap_or(u64::MAX)
    }
}

impl Drawings {
    /// The drawings in `folder`, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a drawing.
    pub fn path(&self, drawing: &Drawing) -> PathBuf {
        self.folder.join(&drawing.name)
    }

    /// Those that are there, by label and number; files with other names are somebody else's.
    ///
    /// # Errors
    /// If the folder can't be read, or holds more than [`MOST_DRAWINGS`]; one that does not exist holds none.
    pub fn list(&self) -> Result<Vec<Drawing>, DataError> {
        let refused = |error: io::Error| {
            wrong(&self.folder, format!("the drawings can't be listed ({error}): check that it is a folder"))
        };
        let files = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(refused)?,
        };
        let mut drawings = Vec::new();
        for file in files {
            drawings.extend(file.map_err(refused)?.file_name().to_str().and_then(Drawing::of_file));
            if drawings.len() > MOST_DRAWINGS {
                return Err(wrong(&self.folder, format!("it holds more than {MOST_DRAWINGS} drawings: take some out")));
            }
        }
        drawings.sort_by_cached_key(|drawing| (drawing.label, drawing.number(), drawing.name.clone()));
        Ok(drawings)
    }

    /// The drawing whose file has this name, if it is there.
    pub fn find(&self, name: &str) -> Option<Drawing> {
        Drawing::of_file(name).filter(|drawing| self.path(drawing).is_file())
    }

    /// Keeps `image`, `[height, width]`, which is meant to be the digit `label`.
    ///
    /// # Errors
    /// If the folder can't be read, made or written to, or is full.
    pub fn add(&self, image: &Image, label: u8) -> Result<Drawing, DataError> {
        let there = self.list()?;
        if there.len() >= MOST_DRAWINGS {
            let problem = format!("it holds {MOST_DRAWINGS} drawings, and takes no more: take some out");
            return Err(wrong(&self.folder, problem));
        }
        fs::create_dir_all(&self.folder)
            .map_err(|error| wrong(&self.folder, format!("the folder for drawings can't be made: {error}")))?;
        let last = there.iter().filter(|drawing| drawing.label == label).map(Drawing::number).max().unwrap_or(0);
        let mut number = last.saturating_add(1);
        // Another lab may add to the same folder: a name that was taken meanwhile is left to it.
        loop {
            let drawing = Drawing { label, name: format!("{label}-{number:04}.png") };
            match write(&self.path(&drawing), image) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < u64::MAX => number += 1,
                Err(error) => {
                    return Err(wrong(&self.path(&drawing), format!("the drawing can't be written: {error}")));
                }
                Ok(()) => return Ok(drawing),
            }
        }
    }
}

fn wrong(path: &Path, problem: String) -> DataError {
    DataError { path: path.into(), problem }
}

/// Writes `image` as a grey PNG to `path`, which must end in `.png` and not be there yet.
///
/// # Errors
/// If it is there, or the file system refuses.
pub fn save(path: &Path, image: &Image) -> Result<(), DataError> {
    let wrong = |problem: String| wrong(path, problem);
    if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("png")) {
        return Err(wrong("a drawing is saved as PNG: give a name that ends in .png".into()));
    }
    write(path, image).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => wrong("it is there already, and stays as it is: choose another name".into()),
        ErrorKind::NotFound => wrong("there is no such folder: make it, or save elsewhere".into()),
        _ => wrong(format!("the drawing can't be written: {error}")),
    })
}

/// Writes a new file, whole or not at all.
fn write(path: &Path, image: &Image) -> io::Result<()> {
    let side = SIDE as u32;
    let grey = GrayImage::from_raw(side, side, image.to_vec()).ok_or(ErrorKind::InvalidData)?;
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageLuma8(grey).write_to(&mut bytes, ImageFormat::Png).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(bytes.get_ref()).and_then(|()| File::sync_all(&file));
    if written.is_err() {
        // What is left of it would be taken for a drawing; should it stay, reading it says so.
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::{Drawing, Drawings, save};
    use crate::data::PIXELS;
    use crate::data::picture::{self, Preprocess};
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use std::fs;

    #[test]
    fn names_tell_the_label() {
        for (name, label) in [("7-0003.png", Some(7)), ("0-1.png", Some(0)), ("9-99999999999999999999999.png", Some(9))]
            .into_iter()
            .chain(
                ["10-0001.png", "-1.png", "7-.png", "7.png", "7-a.png", "x-0001.png", "7-0001.jpg", "", "é-1.png"]
                    .map(|name| (name, None)),
            )
        {
            assert_eq!(Drawing::of_file(name).map(|drawing| drawing.label), label, "{name}");
        }
    }

    #[test]
    fn drawings_are_numbered_by_label_and_other_files_are_left_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let drawings = Drawings::new(home.path().join("deep/drawings"));
        assert_eq!(drawings.list().expect("none"), []);
        let image = [9; PIXELS];
        let names = [7, 7, 1, 7].map(|label| drawings.add(&image, label).expect("room").name);
        assert_eq!(names, ["7-0001.png", "7-0002.png", "1-0001.png", "7-0003.png"]);
        fs::write(drawings.folder().join("notes.txt"), "mine").expect("written");
        fs::write(drawings.folder().join("7-0009.png"), "no image").expect("written");
        fs::remove_file(drawings.folder().join("7-0002.png")).expect("it is there");
        assert_eq!(drawings.add(&image, 7).expect("room").name, "7-0010.png");
        let listed: Vec<String> = drawings.list().expect("a folder").into_iter().map(|drawing| drawing.name).collect();
        assert_eq!(listed, ["1-0001.png", "7-0001.png", "7-0003.png", "7-0009.png", "7-0010.png"]);
        assert_eq!(drawings.find("7-0002.png"), None);
        assert_eq!(drawings.find("../7-0001.png"), None);
    }

    #[test]
    fn drawings_are_listed_by_number_however_it_is_written() {
        let home = tempfile::tempdir().expect("a folder");
        let names = ["0-3.png", "1-002.png", "1-2.png", "1-10.png", "1-0011.png"];
        for name in names {
            fs::write(home.path().join(name), "").expect("written");
        }
        let listed = Drawings::new(home.path()).list().expect("a folder");
        assert_eq!(listed.iter().map(|drawing| drawing.name.as_str()).collect::<Vec<_>>(), names);
    }

    #[test]
    fn what_is_in_the_way_is_told_and_stays() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("drawings");
        fs::write(&file, "no folder").expect("written");
        let drawings = Drawings::new(&file);
        assert!(drawings.list().is_err_and(|error| error.problem.contains("can't be listed")));
        assert!(drawings.add(&[1; PIXELS], 3).is_err());
        for (name, sentence) in
            [("seven.gif", "ends in .png"), ("drawings/a.png", "can't be written"), ("none/a.png", "no such folder")]
        {
            let error = save(&home.path().join(name), &[1; PIXELS]).expect_err(name);
            assert!(error.problem.contains(sentence), "{name}: {error}");
        }
        let path = home.path().join("seven.png");
        save(&path, &[1; PIXELS]).expect("free");
        let before = fs::read(&path).expect("there");
        assert!(save(&path, &[2; PIXELS]).is_err_and(|error| error.problem.contains("there already")));
        assert_eq!(fs::read(&path).expect("there"), before);
    }

    proptest! {
        /// What the screen shows beside the drawing is what `predict` and the server make of the saved file.
        #[test]
        fn a_saved_drawing_is_read_as_it_was_drawn(pixels in proptest::collection::vec(any::<u8>(), PIXELS), sparse in 1_usize..40) {
            let mut image = [0; PIXELS];
            for (at, pixel) in pixels.into_iter().enumerate().filter(|(at, _)| at % sparse == 0) {
                image[at] = pixel;
            }
            let home = tempfile::tempdir().expect("a folder");
            let path = home.path().join("drawn.png");
            save(&path, &image).expect("free");
            let read = picture::read(&path, Preprocess::Auto).map_err(|error| error.problem);
            let drawn = picture::from_pixels(&image, Preprocess::Auto).map_err(|error| error.to_string());
            prop_assert_eq!(read, drawn);
        }
    }
}
