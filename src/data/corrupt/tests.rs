//! What must hold of corrupted images.

use super::{Corruption, Kind};
use crate::data::{Image, Images, PIXELS, SIDE};

/// A seven, roughly.
fn seven() -> Image {
    let mut image = [0; PIXELS];
    for column in 7..20 {
        image[6 * SIDE + column] = 255;
        image[7 * SIDE + column] = 200;
    }
    for row in 8..23 {
        let column = 19 - (row - 8) / 2;
        image[row * SIDE + column] = 255;
        image[row * SIDE + column - 1] = 180;
    }
    image
}

fn corrupted(kind: Kind, severity: u8, index: usize) -> Image {
    Corruption::new(kind, severity).expect("it is one").apply(&seven(), index)
}

/// Mean difference to the image itself over several draws, in grey levels.
fn difference(kind: Kind, severity: u8) -> f64 {
    let apart = |index: usize| {
        let pairs = corrupted(kind, severity, index).into_iter().zip(seven());
        pairs.map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>() / PIXELS as f64
    };
    (0..40).map(apart).sum::<f64>() / 40.0
}

#[test]
fn each_kind_changes_the_image_and_more_so_the_more_severe() {
    for kind in Kind::ALL {
        let differences: Vec<f64> = (1..=5).map(|severity| difference(kind, severity)).collect();
        assert!(differences[0] > 0.3, "{}: {differences:?}", kind.name());
        // Edges have no strength; a stronger blur leaves fewer of them.
        if kind != Kind::CannyEdges {
            assert!(differences[4] > 1.2 * differences[0], "{}: {differences:?}", kind.name());
        }
        // Ink that was moved away altogether differs by no more when it goes farther.
        if ![Kind::Shear, Kind::Scale, Kind::Rotate, Kind::Translate, Kind::CannyEdges].contains(&kind) {
            assert!(differences.is_sorted(), "{}: {differences:?}", kind.name());
        }
    }
}

#[test]
fn the_same_is_done_each_time_and_another_thing_to_each_image() {
    for kind in Kind::ALL {
        assert_eq!(corrupted(kind, 3, 7), corrupted(kind, 3, 7), "{}", kind.name());
    }
    for kind in [Kind::ShotNoise, Kind::GlassBlur, Kind::MotionBlur, Kind::Fog, Kind::Spatter, Kind::Zigzag] {
        assert_ne!(corrupted(kind, 3, 7), corrupted(kind, 3, 8), "{}", kind.name());
    }
    let images = Images::new([seven(), seven()].concat(), vec![7, 1]);
    let all = Corruption::new(Kind::Fog, 2).expect("it is one").apply_to(&images, 0..2);
    assert_eq!((all.image(1), all.labels()), (&corrupted(Kind::Fog, 2, 1), &[7, 1][..]));
}

#[test]
fn blank_and_full_images_are_taken() {
    for kind in Kind::ALL {
        for severity in 1..=5 {
            let corruption = Corruption::new(kind, severity).expect("it is one");
            let lit = |image: &Image| corruption.apply(image, 0).iter().map(|&pixel| u64::from(pixel)).sum::<u64>();
            let (dark, light) = (lit(&[0; PIXELS]), lit(&[255; PIXELS]));
            assert!(dark <= light || kind == Kind::Stripe, "{corruption}: {dark} and {light}");
        }
    }
}

#[test]
fn what_a_kind_does_is_what_its_name_says() {
    let at = |image: &Image, row: usize, column: usize| image[row * SIDE + column];
    let (image, level) = (seven(), 3);
    let stripe = corrupted(Kind::Stripe, level, 0);
    for row in 0..SIDE {
        for column in 0..SIDE {
            let before = at(&image, row, column);
            let expected = if (11..17).contains(&column) { 255 - before } else { before };
            assert_eq!(at(&stripe, row, column), expected, "stripe at {row}, {column}");
        }
    }
    let brighter = corrupted(Kind::Brightness, level, 0);
    assert!(image.iter().zip(&brighter).all(|(&a, &b)| b.abs_diff((u16::from(a) + 77).min(255) as u8) <= 1));
    let moved = corrupted(Kind::Translate, level, 0);
    let shifts = [-3_i32, 3].map(|down| [-3_i32, 3].map(|right| (down, right))).concat();
    let is_moved = |&(down, right): &(i32, i32)| {
        (8..20).all(|row: i32| {
            (8..20).all(|column: i32| {
                at(&moved, (row + down) as usize, (column + right) as usize)
                    == at(&image, row as usize, column as usize)
            })
        })
    };
    assert_eq!(shifts.iter().filter(|shift| is_moved(shift)).count(), 1);
    let ink = |image: &Image| image.iter().map(|&pixel| f64::from(pixel)).sum::<f64>();
    assert!((ink(&corrupted(Kind::Rotate, level, 0)) / ink(&image) - 1.0).abs() < 0.05);
    assert!((ink(&corrupted(Kind::Scale, 5, 0)) / ink(&image) - 0.25).abs() < 0.05);
    let photons: f64 = (0..100).map(|index| ink(&corrupted(Kind::ShotNoise, 1, index))).sum::<f64>() / 100.0;
    // What is over white is cut off.
    assert!((0.85..1.0).contains(&(photons / ink(&image))), "{photons}");
    let impulses = |index| corrupted(Kind::ImpulseNoise, 5, index).iter().zip(&image).filter(|(a, b)| a != b).count();
    let share = (0..100).map(impulses).sum::<usize>() as f64 / (100 * PIXELS) as f64;
    assert!((0.11..0.17).contains(&share), "half of 27 % are black already: {share}");
    let edges = corrupted(Kind::CannyEdges, 1, 0);
    let lit = edges.iter().filter(|&&pixel| pixel > 254).count();
    assert!(edges.iter().all(|&pixel| pixel == 0 || pixel == 255) && (40..160).contains(&lit), "{lit}");
    assert_eq!(at(&edges, 0, 0), 0);
}

#[test]
fn names_are_read_as_they_are_written() {
    for kind in Kind::ALL {
        for severity in 1..=5 {
            let corruption = Corruption::new(kind, severity).expect("it is one");
            assert_eq!(corruption.to_string().parse(), Ok(corruption));
        }
        assert_eq!(kind.name().parse(), Corruption::new(kind, 3));
    }
    for (text, word) in [("shot", "shot_noise"), ("fog:6", "1 to 5"), ("fog:0", "1 to 5"), ("fog:x", "1 to 5")] {
        let error = text.parse::<Corruption>().expect_err("it is none");
        assert!(error.contains(word), "{text}: {error}");
    }
}
