//! Image files as input: what people draw, scan and photograph comes back as MNIST would have it.
#![cfg(feature = "embed-mnist")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first failure")]

use std::io::Cursor;
use std::sync::LazyLock;

use image::imageops::{FilterType, overlay, resize};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use mnist_lab::data::picture::{self, PictureError, Preprocess, Preprocessed, Shape};
use mnist_lab::data::{Dataset, Image, PIXELS, SIDE};
use mnist_lab::random::{Purpose, Stream};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, any, prop_oneof, proptest};

static MNIST: LazyLock<Dataset> = LazyLock::new(|| Dataset::open(None).unwrap());

fn digit(index: usize) -> GrayImage {
    GrayImage::from_raw(SIDE as u32, SIDE as u32, MNIST.test.image(index).to_vec()).unwrap()
}

fn file(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn auto(bytes: &[u8]) -> Preprocessed {
    picture::decode(bytes, Preprocess::Auto).unwrap()
}

/// The digit, enlarged, somewhere on a black canvas of 400×300 pixels.
fn painted(index: usize, filter: FilterType) -> GrayImage {
    let mut canvas = GrayImage::new(400, 300);
    let (scale, x, y) = (4 + index % 6, index * 7 % 140, index * 13 % 40);
    let side = (SIDE * scale) as u32;
    overlay(&mut canvas, &resize(&digit(index), side, side, filter), x as i64, y as i64);
    canvas
}

fn inverted(mut image: GrayImage) -> GrayImage {
    image::imageops::invert(&mut image);
    image
}

/// Pearson's correlation of the pixels.
fn likeness(a: &Image, b: &Image) -> f64 {
    let centred = |image: &Image| {
        let mean = image.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / PIXELS as f64;
        image.map(|pixel| f64::from(pixel) - mean)
    };
    let dot = |a: &[f64; PIXELS], b: &[f64; PIXELS]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (a, b) = (centred(a), centred(b));
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// The best likeness when one may lie up to a pixel off: the centre of mass of many digits lies just between two.
fn nearest_likeness(a: &Image, b: &Image) -> f64 {
    let shifted = |dx: i64, dy: i64| {
        let mut canvas = GrayImage::new(SIDE as u32, SIDE as u32);
        overlay(&mut canvas, &GrayImage::from_raw(SIDE as u32, SIDE as u32, a.to_vec()).unwrap(), dx, dy);
        canvas.into_raw().try_into().unwrap()
    };
    let shifts = (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (dx, dy)));
    shifts.map(|(dx, dy)| likeness(&shifted(dx, dy), b)).fold(-1.0, f64::max)
}

/// Checks that the files that `make` makes of test digits come back like the digits: on `mean`, and each at least by `least`.
fn check(name: &str, inverted: bool, [mean, least]: [f64; 2], make: impl Fn(usize) -> Vec<u8>) {
    let likenesses: Vec<f64> = (0..50)
        .map(|index| {
            let made = auto(&make(index));
            assert_eq!(made.inverted, inverted, "{name}, digit {index}: {made}");
            nearest_likeness(&made.image, MNIST.test.image(index))
        })
        .collect();
    let (found, worst) = (likenesses.iter().sum::<f64>() / 50.0, likenesses.iter().copied().fold(1.0, f64::min));
    assert!(found > mean && worst > least, "{name}: {found} on the mean, {worst} at worst");
}

#[test]
fn digits_come_back_from_what_people_make_of_them() {
    let png = ImageFormat::Png;
    check("large", false, [0.96, 0.87], |index| file(painted(index, FilterType::Triangle), png));
    check("large blocks", false, [0.985, 0.96], |index| file(painted(index, FilterType::Nearest), png));
    check("black on white", true, [0.96, 0.87], |index| file(inverted(painted(index, FilterType::Triangle)), png));
    check("jpeg", true, [0.96, 0.87], |index| file(inverted(painted(index, FilterType::Triangle)), ImageFormat::Jpeg));
    check("pgm", true, [0.96, 0.87], |index| file(inverted(painted(index, FilterType::Triangle)), ImageFormat::Pnm));
    check("a photograph", true, [0.96, 0.87], |index| file(photograph(index), ImageFormat::Jpeg));
    check("blue on yellow", true, [0.96, 0.87], |index| {
        let grey = painted(index, FilterType::Triangle);
        let mix = |ink: u8, from: i32, to: i32| (from + (to - from) * i32::from(ink) / 255) as u8;
        let colour = |ink| Rgb([mix(ink, 250, 20), mix(ink, 240, 30), mix(ink, 120, 160)]);
        file(RgbImage::from_fn(400, 300, |x, y| colour(grey.get_pixel(x, y).0[0])), png)
    });
    check("black on nothing", true, [0.96, 0.87], |index| file(on_nothing(index, 0), png));
    check("white on nothing", false, [0.96, 0.87], |index| file(on_nothing(index, 255), png));
    check("cut out", false, [0.999, 0.998], |index| {
        let mut image = digit(index);
        let (xs, ys): (Vec<u32>, Vec<u32>) =
            image.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] > 0).map(|(x, y, _)| (x, y)).unzip();
        let (x, y) = (*xs.iter().min().unwrap(), *ys.iter().min().unwrap());
        let (width, height) = (xs.iter().max().unwrap() - x + 1, ys.iter().max().unwrap() - y + 1);
        let cut = image::imageops::crop(&mut image, x, y, width, height).to_image();
        let mut framed = GrayImage::new(width + 2, height + 2);
        overlay(&mut framed, &cut, 1, 1);
        file(framed, png)
    });
}

/// Grey ink on unevenly lit, noisy paper.
fn photograph(index: usize) -> GrayImage {
    let ink = painted(index, FilterType::Triangle);
    let mut stream = Stream::new(1, Purpose::Augment, [0, index as u64]);
    GrayImage::from_fn(400, 300, |x, y| {
        let light = 190.0 + x as f32 / 40.0 + 4.0 * stream.normal();
        Luma([(light - 0.5 * f32::from(ink.get_pixel(x, y).0[0])).clamp(0.0, 255.0) as u8])
    })
}

/// The digit in this grey on a transparent canvas.
fn on_nothing(index: usize, grey: u8) -> RgbaImage {
    let ink = painted(index, FilterType::Triangle);
    RgbaImage::from_fn(400, 300, |x, y| Rgba([grey, grey, grey, ink.get_pixel(x, y).0[0]]))
}

/// Five digits in a row, large, on noisy paper.
fn a_number(first: usize) -> GrayImage {
    let mut ink = GrayImage::new(600, 200);
    for place in 0..5 {
        let large = resize(&digit(first + place), 112, 112, FilterType::Triangle);
        overlay(&mut ink, &large, 10 + 116 * place as i64, 10 + 60 * (place as i64 % 2));
    }
    let mut stream = Stream::new(2, Purpose::Augment, [0, first as u64]);
    GrayImage::from_fn(600, 200, |x, y| {
        let light = 220.0 + 3.0 * stream.normal();
        Luma([(light - 0.7 * f32::from(ink.get_pixel(x, y).0[0])).clamp(0.0, 255.0) as u8])
    })
}

#[test]
fn the_digits_on_a_picture_are_found_from_left_to_right() {
    let (mut whole, mut alike) = (0, Vec::new());
    for first in (0..500).step_by(5) {
        let found = picture::digits(&file(a_number(first), ImageFormat::Png)).unwrap();
        if found.len() != 5 {
            // A stroke that stands apart can be taken for a digit.
            continue;
        }
        whole += 1;
        for (place, found) in found.iter().enumerate() {
            let [x, y, width, height] = found.place.map(|length| length as usize);
            let middle = 10 + 116 * place + 56;
            assert!((x..x + width).contains(&middle), "digit {first} + {place} at {x} to {}", x + width);
            assert!(y + height <= 200 && found.digit.inverted);
            alike.push(nearest_likeness(&found.digit.image, MNIST.test.image(first + place)));
        }
    }
    let mean = alike.iter().sum::<f64>() / alike.len() as f64;
    assert!(whole >= 95, "{whole} of 100 numbers have five digits");
    assert!(mean > 0.95, "{mean} on the mean");
}

#[test]
fn one_digit_is_found_as_it_is_prepared_alone() {
    for index in 0..50 {
        let bytes = file(inverted(painted(index, FilterType::Triangle)), ImageFormat::Png);
        let found = picture::digits(&bytes).unwrap();
        assert_eq!(found.len(), 1, "digit {index}");
        assert_eq!(found[0].digit, auto(&bytes), "digit {index}");
        let kept = picture::digits(&file(digit(index), ImageFormat::Png)).unwrap();
        assert_eq!((kept.len(), kept[0].digit.shape, kept[0].place), (1, Shape::Kept, [0, 0, 28, 28]));
    }
    let small = inverted(painted(1, FilterType::Triangle));
    let large = file(resize(&small, 3000, 2250, FilterType::Triangle), ImageFormat::Png);
    let found = picture::digits(&large).unwrap().remove(0);
    let of_small = picture::digits(&file(small, ImageFormat::Png)).unwrap().remove(0);
    for (large, small) in found.place.into_iter().zip(of_small.place) {
        assert!(
            (f64::from(large) / 7.5 - f64::from(small)).abs() < 3.0,
            "{large} in the large, {small} in the small one"
        );
    }
    let lengths = |prepared: &Preprocessed| match prepared.shape {
        Shape::Cropped(lengths) => lengths,
        shape => panic!("{shape:?}"),
    };
    for (length, alone) in lengths(&found.digit).into_iter().zip(lengths(&auto(&large))) {
        assert!(length.abs_diff(alone) < 22, "{length} found, {alone} alone");
    }
}

#[test]
fn an_image_that_looks_like_mnist_is_kept() {
    for index in 0..1000 {
        let made = auto(&file(digit(index), ImageFormat::Png));
        assert_eq!((&made.image, made.shape, made.inverted), (MNIST.test.image(index), Shape::Kept, false));
    }
}

#[test]
fn an_inverted_image_of_the_right_size_is_nearly_kept() {
    check("inverted 28×28", true, [0.999, 0.998], |index| file(inverted(digit(index)), ImageFormat::Png));
}

#[test]
fn raw_scales_and_nothing_else() {
    let made = picture::decode(&file(digit(3), ImageFormat::Png), Preprocess::Raw).unwrap();
    assert_eq!((&made.image, made.inverted, made.shape), (MNIST.test.image(3), false, Shape::Scaled));
    let large = inverted(resize(&digit(3), 280, 280, FilterType::Nearest));
    let made = picture::decode(&file(large, ImageFormat::Png), Preprocess::Raw).unwrap();
    let expected = MNIST.test.image(3).map(|pixel| 255 - pixel);
    assert!(likeness(&made.image, &expected) > 0.97);
}

#[test]
fn a_thin_stroke_stays_visible() {
    let line = GrayImage::from_fn(1000, 1000, |x, y| Luma([if x.abs_diff(y) < 4 { 0 } else { 255 }]));
    let made = auto(&file(line, ImageFormat::Png));
    assert!((5..25).all(|at| made.image[at * SIDE + at] > 200));
}

#[test]
fn what_was_done_is_said() {
    let said =
        |image: GrayImage, preprocess| picture::decode(&file(image, ImageFormat::Png), preprocess).unwrap().to_string();
    assert_eq!(said(digit(0), Preprocess::Auto), "28×28 image, kept as it is");
    assert_eq!(said(painted(0, FilterType::Nearest), Preprocess::Raw), "400×300 image, scaled to 28×28");
    assert_eq!(
        said(GrayImage::from_fn(100, 80, |x, _| Luma([if (40..50).contains(&x) { 0 } else { 255 }])), Preprocess::Auto),
        "100×80 image, inverted to light on dark, cropped to 10×80, scaled into 20×20 and centred by mass"
    );
}

#[test]
fn what_is_wrong_is_said() {
    let check = |bytes: &[u8], expected: fn(&PictureError) -> bool| {
        for preprocess in [Preprocess::Auto, Preprocess::Raw] {
            let error = picture::decode(bytes, preprocess).unwrap_err();
            assert!(expected(&error), "{error:?}");
        }
    };
    let whole = file(painted(1, FilterType::Nearest), ImageFormat::Png);
    check(b"", |error| *error == PictureError::Format);
    check(b"GIF89a is not one of ours", |error| *error == PictureError::Format);
    check(&whole[..whole.len() / 2], |error| matches!(error, PictureError::Damaged(_)));
    check(&file(GrayImage::new(5000, 4000), ImageFormat::Png), |error| matches!(error, PictureError::TooLarge(_)));
    check(b"P5 100000 100000 255 x", |error| matches!(error, PictureError::TooLarge(_)));
    check(b"P5 4294967295 4294967295 255 x", |error| matches!(error, PictureError::TooLarge(_)));
    check(&file(GrayImage::from_pixel(50, 50, Luma([255])), ImageFormat::Png), |error| *error == PictureError::Blank);
    check(&file(RgbaImage::new(50, 50), ImageFormat::Png), |error| *error == PictureError::Blank);
    let noisy = GrayImage::from_fn(300, 300, |x, y| Luma([200 + ((x * 31 + y * 57) % 13) as u8]));
    let blank = picture::decode(&file(noisy, ImageFormat::Png), Preprocess::Auto).unwrap_err();
    assert_eq!(blank, PictureError::Blank);
}

#[test]
fn files_are_read_by_their_content() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("a digit.jpeg");
    std::fs::write(&path, file(digit(2), ImageFormat::Png)).unwrap();
    assert_eq!(picture::read(&path, Preprocess::Auto).unwrap().image, *MNIST.test.image(2));
    let problem = |path: &std::path::Path| picture::read(path, Preprocess::Auto).unwrap_err().to_string();
    assert!(problem(&folder.path().join("none.png")).contains("none.png: the image cannot be read"));
    assert!(problem(folder.path()).contains("it is no file"));
    std::fs::write(&path, "text").unwrap();
    assert!(problem(&path).contains("a digit.jpeg: it is no PNG, JPEG or PGM image"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(
        start in prop_oneof![Just("P5 3 3 255\n"), Just("P2 3 3 255\n"), Just("P6 2 2 65535\n"), Just("\u{89}PNG"), Just("")],
        bytes in vec(any::<u8>(), 0..300),
    ) {
        for preprocess in [Preprocess::Auto, Preprocess::Raw] {
            let _ = picture::decode(&[start.as_bytes(), &bytes].concat(), preprocess);
        }
        let _ = picture::digits(&[start.as_bytes(), &bytes].concat());
    }

    #[test]
    fn mutated_files_never_panic(
        format in prop_oneof![Just(ImageFormat::Png), Just(ImageFormat::Jpeg), Just(ImageFormat::Pnm)],
        changes in vec((any::<usize>(), any::<u8>()), 1..8),
        cut in any::<usize>(),
    ) {
        let mut bytes = file(digit(4), format);
        for (at, value) in changes {
            let len = bytes.len();
            bytes[at % len] = value;
        }
        bytes.truncate(cut % (2 * bytes.len()) + 1);
        for preprocess in [Preprocess::Auto, Preprocess::Raw] {
            let _ = picture::decode(&bytes, preprocess);
        }
        let _ = picture::digits(&bytes);
    }

    #[test]
    fn every_shape_and_grey_is_taken(width in 1u32..80, height in 1u32..80, pixels in vec(any::<u8>(), 6400)) {
        let image = GrayImage::from_fn(width, height, |x, y| Luma([pixels[(y * 80 + x) as usize]]));
        for preprocess in [Preprocess::Auto, Preprocess::Raw] {
            let _ = picture::decode(&file(image.clone(), ImageFormat::Pnm), preprocess);
        }
    }
}
