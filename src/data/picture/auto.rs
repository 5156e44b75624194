//! From any picture of a digit to what MNIST's makers would have made of it.
//!
//! MNIST's digits are light on black; the longer side of the ink's bounding box is 20 pixels, scaled with antialiasing, and
//! the centre of mass lies at pixel (14, 14) of the 28×28 field (described with the data set).

use image::imageops::{FilterType, crop_imm, resize};
use image::{GrayImage, Luma};

use super::super::{Image, PIXELS, SIDE};
use super::{PictureError, Preprocessed, Shape};

/// Longer side of a digit's bounding box in MNIST.
const INK_SIDE: u32 = 20;
/// Row and column of the centre of mass in MNIST.
const CENTRE: f32 = 14.0;
/// Grey levels that ink must stand out from its background.
const LEAST_CONTRAST: usize = 24;
/// Fainter ink (full is 255) does not count for the bounding box: soft edges, and the ripples of JPEG.
const FAINT: u8 = 32;
/// One part in this many of the ink may be cut off at each side: dust.
const DUST: u64 = 2000;

/// Makes `grey` look like MNIST.
pub fn preprocess(grey: &GrayImage) -> Result<Preprocessed, PictureError> {
    let size = [grey.width(), grey.height()];
    let Ink { plane, inverted } = Ink::find(grey)?;
    match kept(grey, inverted) {
        Some(kept) => Ok(kept),
        None => Ok(from_ink(&plane, size, inverted)),
    }
}

/// The digit that the light ink on the black `plane` is, from a picture of this size.
pub fn from_ink(plane: &GrayImage, size: [u32; 2], inverted: bool) -> Preprocessed {
    let [x, y, width, height] = bounding_box(plane);
    let ink = crop_imm(plane, x, y, width, height).to_image();
    Preprocessed { image: centre(&scale(&ink)), size, inverted, shape: Shape::Cropped([width, height]) }
}

/// The picture as it is, if it has the size of MNIST's and its digit the place: scaling it again would only blur it.
pub fn kept(grey: &GrayImage, inverted: bool) -> Option<Preprocessed> {
    let image = as_it_is(grey).filter(|_| !inverted)?;
    Some(Preprocessed { image, size: [grey.width(), grey.height()], inverted, shape: Shape::Kept })
}

/// What was drawn: light ink on black.
pub struct Ink {
    /// The ink: full is 255.
    pub plane: GrayImage,
    /// Whether it was darker than its background.
    pub inverted: bool,
}

impl Ink {
    /// Takes what lies around the edge for the background, and the side of it with more weight, darker or lighter, for ink.
    pub fn find(grey: &GrayImage) -> Result<Self, PictureError> {
        let (background, noise) = background(grey);
        let lighter = |pixel: u8| pixel.saturating_sub(background).saturating_sub(noise);
        let darker = |pixel: u8| background.saturating_sub(pixel).saturating_sub(noise);
        let mass = |ink: &dyn Fn(u8) -> u8| grey.iter().map(|&pixel| u64::from(ink(pixel))).sum::<u64>();
        let inverted = mass(&darker) > mass(&lighter);
        let ink = |pixel| if inverted { darker(pixel) } else { lighter(pixel) };
        let full = full_ink(grey.iter().map(|&pixel| ink(pixel)));
        if full < LEAST_CONTRAST {
            return Err(PictureError::Blank);
        }
        let stretched = |pixel| (usize::from(ink(pixel)) * 255 / full).min(255) as u8;
        let plane =
            GrayImage::from_fn(grey.width(), grey.height(), |x, y| Luma([stretched(grey.get_pixel(x, y).0[0])]));
        Ok(Self { plane, inverted })
    }
}

/// Median grey of a frame around the image, and how far noise goes from it: four times the median deviation (2.7 standard
/// deviations of normal noise), 0 for a drawing.
fn background(grey: &GrayImage) -> (u8, u8) {
    let (width, height) = grey.dimensions();
    let frame = (width.min(height) / 32).max(1);
    let mut histogram = [0_u64; 256];
    for (x, y, pixel) in grey.enumerate_pixels() {
        if x < frame || y < frame || x + frame >= width || y + frame >= height {
            histogram[usize::from(pixel.0[0])] += 1;
        }
    }
    let median = quantile(&histogram, 0.5) as u8;
    let mut deviations = [0; 256];
    for (value, count) in histogram.iter().enumerate() {
        deviations[value.abs_diff(median.into())] += count;
    }
    (median, (4 * quantile(&deviations, 0.5)).min(255) as u8)
}

/// The level of full ink: 95 % of all the ink's weight is in pixels up to it, so that single hot pixels don't matter.
fn full_ink(pixels: impl Iterator<Item = u8>) -> usize {
    let mut weights = [0; 256];
    for pixel in pixels {
        weights[usize::from(pixel)] += u64::from(pixel);
    }
    quantile(&weights, 0.95)
}

/// The first index up to which this `part` of the histogram lies.
fn quantile(histogram: &[u64; 256], part: f64) -> usize {
    let wanted = histogram.iter().sum::<u64>() as f64 * part;
    let mut sum = 0;
    histogram
        .iter()
        .position(|count| {
            sum += count;
            sum as f64 >= wanted
        })
        .unwrap_or(255)
}

/// The pixels, if they lie as MNIST's do.
fn as_it_is(grey: &GrayImage) -> Option<Image> {
    let image: &Image = grey.as_raw().as_slice().try_into().ok()?;
    let (rows, _) = image.as_chunks::<SIDE>();
    let rows_used = rows.iter().map(|row| row.iter().any(|&pixel| pixel > 0));
    let columns_used = (0..SIDE).map(|x| rows.iter().any(|row| row[x] > 0));
    let longer = length(rows_used).max(length(columns_used));
    let (x, y) = centre_of_mass(grey);
    let centred = (x - CENTRE).abs() < 1.0 && (y - CENTRE).abs() < 1.0;
    (grey.dimensions() == (SIDE as u32, SIDE as u32) && longer == INK_SIDE && centred).then_some(*image)
}

/// From the first to the last that is used.
fn length(used: impl Iterator<Item = bool>) -> u32 {
    let used: Vec<usize> = used.enumerate().filter_map(|(at, used)| used.then_some(at)).collect();
    used.first().zip(used.last()).map_or(0, |(first, last)| (last - first + 1) as u32)
}

/// Column, row, width and height of the ink.
fn bounding_box(plane: &GrayImage) -> [u32; 4] {
    let mut columns = vec![0; plane.width() as usize];
    let mut rows = vec![0; plane.height() as usize];
    for (x, y, pixel) in plane.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] >= FAINT) {
        columns[x as usize] += u64::from(pixel.0[0]);
        rows[y as usize] += u64::from(pixel.0[0]);
    }
    let [(x, width), (y, height)] = [columns, rows].map(|sums| span(&sums));
    [x, y, width, height]
}

/// Start and length of the part that holds all but the dust at either end.
fn span(sums: &[u64]) -> (u32, u32) {
    let dust = sums.iter().sum::<u64>() / DUST;
    let skip = |sums: &mut dyn Iterator<Item = &u64>| {
        let mut seen = 0;
        sums.take_while(|sum| {
            seen += **sum;
            seen <= dust
        })
        .count()
    };
    let (start, end) = (skip(&mut sums.iter()), sums.len() - skip(&mut sums.iter().rev()));
    (start as u32, end.saturating_sub(start).max(1) as u32)
}

/// Scales the longer side to 20 pixels, antialiased; full ink stays full where strokes got thinner than a pixel.
fn scale(ink: &GrayImage) -> GrayImage {
    let longer = ink.width().max(ink.height());
    let side = |length: u32| ((length * INK_SIDE + longer / 2) / longer).max(1);
    let mut scaled = resize(ink, side(ink.width()), side(ink.height()), FilterType::Triangle);
    let most = scaled.iter().copied().max().map_or(1, |most| u32::from(most.max(1)));
    for pixel in scaled.iter_mut() {
        *pixel = (u32::from(*pixel) * 255 / most) as u8;
    }
    scaled
}

/// Puts the centre of mass where MNIST has it, as far as the ink stays inside.
fn centre(ink: &GrayImage) -> Image {
    let (x, y) = centre_of_mass(ink);
    let place =
        |centre: f32, length: u32| ((CENTRE - centre).round() as i32).clamp(0, SIDE as i32 - length as i32) as usize;
    let (left, top) = (place(x, ink.width()), place(y, ink.height()));
    let mut image = [0; PIXELS];
    for (x, y, pixel) in ink.enumerate_pixels() {
        image[(top + y as usize) * SIDE + left + x as usize] = pixel.0[0];
    }
    image
}

/// Column and row of the centre of mass.
fn centre_of_mass(plane: &GrayImage) -> (f32, f32) {
    let (mut sum, mut sum_x, mut sum_y) = (0_u64, 0, 0);
    for (x, y, pixel) in plane.enumerate_pixels() {
        let mass = u64::from(pixel.0[0]);
        sum += mass;
        sum_x += mass * u64::from(x);
        sum_y += mass * u64::from(y);
    }
    let mean = |total: u64| (total as f64 / sum.max(1) as f64) as f32;
    (mean(sum_x), mean(sum_y))
}
