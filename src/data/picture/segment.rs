//! Several digits on one picture: connected ink, put together where strokes stand above each other, read from left to right.

use image::imageops::{FilterType, resize};
use image::{GrayImage, Luma};

use super::auto::{self, Ink};
use super::{Found, MOST_DIGITS, PictureError, Shape};

/// Longer side that marks are looked for at: finer detail is noise, and takes time.
const LONGEST: u32 = 1024;
/// Fainter ink (full is 255) connects nothing.
const CONNECTS: u8 = 64;
/// A mark is dust if it is smaller than this part of the tallest one.
const LEAST_PART: f32 = 0.25;
/// Marks belong to one digit if this part of the narrower one stands above or below the other.
const SHARED_WIDTH: f32 = 0.5;

/// The digits on `grey`, from left to right.
pub fn find(grey: &GrayImage) -> Result<Vec<Found>, PictureError> {
    let size = [grey.width(), grey.height()];
    let longest = size[0].max(size[1]).max(1);
    let shrink = (longest as f32 / LONGEST as f32).max(1.0);
    let small = |length: u32| ((length as f32 / shrink) as u32).max(1);
    let grey = if shrink > 1.0 { &resize(grey, small(size[0]), small(size[1]), FilterType::Triangle) } else { grey };
    let seen = [grey.width(), grey.height()];
    let Ink { plane, inverted } = Ink::find(grey)?;
    if let Some(digit) = auto::kept(grey, inverted) {
        return Ok(vec![Found { digit, place: [0, 0, size[0], size[1]] }]);
    }
    let marks = Marks::of(&plane);
    let groups = marks.groups();
    if groups.len() > MOST_DIGITS {
        return Err(PictureError::Crowded(groups.len()));
    }
    let found = groups.iter().map(|group| {
        let whole =
            |axis: usize, length: u32| (u64::from(length) * u64::from(size[axis]) / u64::from(seen[axis])) as u32;
        let place = std::array::from_fn(|at| whole(at % 2, group.place[at]));
        // A digit alone has all the ink, also what is too faint to connect.
        let alone = (groups.len() > 1).then(|| marks.only(&plane, group));
        let mut digit = auto::from_ink(alone.as_ref().unwrap_or(&plane), size, inverted);
        if let Shape::Cropped([width, height]) = digit.shape {
            digit.shape = Shape::Cropped([whole(0, width), whole(1, height)]);
        }
        Found { digit, place }
    });
    Ok(found.collect())
}

/// Which pixel belongs to which mark.
struct Marks {
    width: u32,
    /// Of each pixel its mark's number, from 1.
    numbers: Vec<u32>,
    /// Of each mark its columns and rows, from the first to behind the last.
    extents: Vec<Extent>,
}

/// Columns and rows that are taken, each from the first to behind the last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Extent {
    columns: [u32; 2],
    rows: [u32; 2],
}

/// Marks that are one digit.
struct Group {
    /// Column, row, width and height.
    place: [u32; 4],
    /// The marks' numbers.
    numbers: Vec<u32>,
}

impl Marks {
    fn of(plane: &GrayImage) -> Self {
        let (width, height) = plane.dimensions();
        let mut marks = Self { width, numbers: vec![0; (width * height) as usize], extents: Vec::new() };
        let mut stack = Vec::new();
        for start in 0..width * height {
            if plane.as_raw()[start as usize] < CONNECTS || marks.numbers[start as usize] > 0 {
                continue;
            }
            let number = marks.extents.len() as u32 + 1;
            let mut extent = Extent { columns: [u32::MAX, 0], rows: [u32::MAX, 0] };
            marks.numbers[start as usize] = number;
            stack.push(start);
            while let Some(pixel) = stack.pop() {
                let (x, y) = (pixel % width, pixel / width);
                extent.include(x, y);
                for row in y.saturating_sub(1)..(y + 2).min(height) {
                    for column in x.saturating_sub(1)..(x + 2).min(width) {
                        let neighbour = row * width + column;
                        let place = &mut marks.numbers[neighbour as usize];
                        if *place == 0 && plane.as_raw()[neighbour as usize] >= CONNECTS {
                            *place = number;
                            stack.push(neighbour);
                        }
                    }
                }
            }
            marks.extents.push(extent);
        }
        marks
    }

    /// The digits: marks above each other together, dust left out, from left to right.
    fn groups(&self) -> Vec<Group> {
        let tallest = self.extents.iter().map(Extent::size).max().unwrap_or_default() as f32;
        let mut parts: Vec<(Extent, Vec<u32>)> = (1..)
            .zip(&self.extents)
            .filter(|(_, extent)| extent.size() as f32 >= LEAST_PART * tallest)
            .map(|(number, extent)| (*extent, vec![number]))
            .collect();
        parts.sort_by_key(|(extent, _)| extent.columns[0]);
        let mut groups: Vec<(Extent, Vec<u32>)> = Vec::new();
        for (extent, numbers) in parts {
            match groups.iter_mut().find(|(other, _)| other.stands_over(&extent)) {
                Some((whole, all)) => {
                    *whole = whole.with(&extent);
                    all.extend(numbers);
                }
                None => groups.push((extent, numbers)),
            }
        }
        groups.sort_by_key(|(extent, _)| extent.columns[0] + extent.columns[1]);
        let place = |extent: &Extent| {
            let ([left, right], [top, bottom]) = (extent.columns, extent.rows);
            [left, top, right - left, bottom - top]
        };
        groups.into_iter().map(|(extent, numbers)| Group { place: place(&extent), numbers }).collect()
    }

    /// The ink of `group` alone, with the soft edge around it.
    fn only(&self, plane: &GrayImage, group: &Group) -> GrayImage {
        let [x, y, width, height] = group.place;
        let (left, top) = (x.saturating_sub(1), y.saturating_sub(1));
        let (right, bottom) = ((x + width + 1).min(plane.width()), (y + height + 1).min(plane.height()));
        GrayImage::from_fn(right - left, bottom - top, |x, y| {
            let (x, y) = (left + x, top + y);
            let number = self.numbers[(y * self.width + x) as usize];
            let is_of_another = number > 0 && !group.numbers.contains(&number);
            if is_of_another { Luma([0]) } else { *plane.get_pixel(x, y) }
        })
    }
}

impl Extent {
    const fn include(&mut self, x: u32, y: u32) {
        *self = self.with(&Self { columns: [x, x + 1], rows: [y, y + 1] });
    }

    const fn with(&self, other: &Self) -> Self {
        Self { columns: hull(self.columns, other.columns), rows: hull(self.rows, other.rows) }
    }

    /// The longer side.
    fn size(&self) -> u32 {
        (self.columns[1] - self.columns[0]).max(self.rows[1] - self.rows[0])
    }

    /// Whether two marks share so many columns that they are one digit's.
    fn stands_over(&self, other: &Self) -> bool {
        let [start, end] = [self.columns[0].max(other.columns[0]), self.columns[1].min(other.columns[1])];
        let narrower = (self.columns[1] - self.columns[0]).min(other.columns[1] - other.columns[0]);
        end.saturating_sub(start) as f32 >= SHARED_WIDTH * narrower as f32
    }
}

const fn hull(a: [u32; 2], b: [u32; 2]) -> [u32; 2] {
    let start = if a[0] < b[0] { a[0] } else { b[0] };
    let end = if a[1] > b[1] { a[1] } else { b[1] };
    [start, end]
}
