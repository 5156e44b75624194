//! The reading is the network, its gradients are slopes, and pixels that count are found.

use std::sync::Arc;

use super::{Reading, dead_relus, explain, occlusion, saliency};
use crate::arch::{Arch, PRESETS};
use crate::data::{Batch, CLASSES, Image, Images, PIXELS, SIDE};
use crate::nn::{self, DeviceChoice, Kernels, Network, Setup, Step};
use crate::random::{Purpose, Stream};

fn image(seed: u64) -> Image {
    let mut stream = Stream::new(seed, Purpose::Augment, [0, 0]);
    std::array::from_fn(|_| (stream.uniform(-100.0, 255.0)).max(0.0) as u8)
}

fn network(arch: &Arch) -> Box<dyn Network> {
    let setup =
        Setup { device: DeviceChoice::Cpu, kernels: Kernels::Composed, threads: 1, seed: 5, ..Setup::default() };
    let mut network = nn::build(arch, &setup).expect("the CPU is always there").0;
    // A few steps, so that biases and the statistics of batch norm are not what they begin with.
    let pixels: Vec<u8> = (0..20).flat_map(image).collect();
    let images = Arc::new(Images::new(pixels, (0..20).map(|label| label % 10).collect()));
    for number in 0..3 {
        let step = Step { number, learning_rate: 0.01, ..Step::default() };
        network.train(&Batch::new(images.clone(), (0..20).collect()), &step).expect("the CPU does not fail");
    }
    network
}

fn logits(network: &mut dyn Network, image: &Image) -> [f32; CLASSES] {
    let images = Arc::new(Images::new(image.to_vec(), vec![0]));
    network.logits(&Batch::new(images, vec![0])).expect("the CPU does not fail")[0]
}

/// Reads the network of `text` and compares it with the network itself.
#[track_caller]
fn check(text: &str) {
    let arch: Arch = text.parse().expect("it is one");
    let mut network = network(&arch);
    let state = network.state().expect("the CPU does not fail");
    let reading = Reading::new(&arch, &state).expect("they belong together");
    let image = image(77);
    let pass = reading.forward(&image);
    let (read, computed) = (pass.logits(), logits(&mut *network, &image));
    for (read, computed) in read.iter().zip(computed) {
        assert!((read - computed).abs() < 1e-3 * (1.0 + computed.abs()), "{text}: {read} {computed}");
    }
    // The slope along each of some pixels: what the logit changes by when the pixel does, a kink in between left out.
    let map = pass.saliency(4);
    let mut compared = 0;
    for pixel in (3..PIXELS).step_by(37).filter(|&pixel| (2..254).contains(&image[pixel])) {
        let moved = |by: i16| {
            let mut moved = image;
            moved[pixel] = (i16::from(image[pixel]) + by) as u8;
            f64::from(reading.forward(&moved).logits()[4])
        };
        let (below, here, above) = (moved(-1), moved(0), moved(1));
        let slope = (above - below) / 2.0 * f64::from(image[pixel]);
        if ((above - here) - (here - below)).abs() < 1e-2 * (above - below).abs() {
            compared += 1;
            let error = (slope - f64::from(map[pixel])).abs();
            assert!(error < 0.02 * slope.abs() + 2e-3, "{text}, pixel {pixel}: {slope} {}", map[pixel]);
        }
    }
    assert!(compared > 0, "{text}: no slope was compared");
}

#[test]
fn the_reading_is_the_network_and_its_saliency_the_slope() {
    PRESETS.iter().filter(|preset| preset.name != "wide").for_each(|preset| check(preset.text));
    check("conv4:3x5:s2:p1 bn relu pool3:s2 res(conv4:1x1) gap dropout0.3 dense10");
    check("conv3:2x3:p1 relu res(conv5:3x3:p1 relu | conv5:1x1) pool2 flatten dense10");
}

#[test]
fn without_biases_the_evidence_adds_up_to_the_logit() {
    let arch: Arch = "conv4:3x3 relu pool2 flatten dense10".parse().expect("it is one");
    let mut network = network(&arch);
    let mut state = network.state().expect("the CPU does not fail");
    for bias in state.tensors.iter_mut().filter(|tensor| tensor.name.ends_with("bias")) {
        bias.values.fill(0.0);
    }
    network.restore(&state).expect("it is the same architecture");
    let explanation = explain(&mut *network, &arch, &image(3), None).expect("the CPU does not fail");
    for evidence in &explanation.evidence {
        assert!((evidence.pro + evidence.con - evidence.logit).abs() < 1e-3, "{evidence:?}");
        assert!(evidence.pro >= 0.0 && evidence.con <= 0.0);
    }
    let best = explanation.evidence.iter().max_by(|a, b| a.logit.total_cmp(&b.logit)).expect("there are ten");
    assert_eq!(explanation.class, best.class);
}

/// A network that only looks at one pixel: the maps show that one, and a square around it.
#[test]
fn the_pixel_that_counts_is_found() {
    let arch: Arch = "flatten dense10".parse().expect("it is one");
    let mut network = network(&arch);
    let mut state = network.state().expect("the CPU does not fail");
    let looked_at = 10 * SIDE + 20;
    state.tensors.iter_mut().for_each(|tensor| tensor.values.fill(0.0));
    state.tensors[0].values[3 * PIXELS + looked_at] = 9.0;
    network.restore(&state).expect("it is the same architecture");
    let image = [255; PIXELS];
    let map = saliency(&Reading::new(&arch, &state).expect("they belong together"), &image);
    assert!((map[looked_at] - 9.0).abs() < 1e-5);
    assert!(map.iter().enumerate().all(|(pixel, value)| pixel == looked_at || *value == 0.0));
    let map = occlusion(&mut *network, &image, 3).expect("the CPU does not fail");
    for (pixel, fall) in map.iter().enumerate() {
        let near = (pixel / SIDE).abs_diff(10) <= 2 && (pixel % SIDE).abs_diff(20) <= 2;
        assert_eq!(*fall > 0.5, near, "{pixel}: {fall}");
    }
}

#[test]
fn units_that_never_fire_are_counted() {
    let arch: Arch = "conv4:3x3 relu pool2 flatten dense6 relu res(dense6 relu) dense10".parse().expect("it is one");
    let mut network = network(&arch);
    let mut state = network.state().expect("the CPU does not fail");
    // The biases of one filter, of two units, and of one in the block keep them below 0 whatever comes.
    state.tensors[1].values[2] = -1e6;
    state.tensors[3].values[0] = -1e9;
    state.tensors[3].values[5] = -1e9;
    state.tensors[5].values[1] = -1e12;
    for tensor in [1, 3, 5] {
        state.tensors[tensor].values.iter_mut().filter(|bias| **bias > -1e5).for_each(|bias| *bias = 1e3);
    }
    network.restore(&state).expect("it is the same architecture");
    let images = [image(1), image(2)];
    let dead = dead_relus(&*network, &arch, images.iter()).expect("the CPU does not fail");
    let short: Vec<_> = dead.iter().map(|layer| (layer.layer.as_str(), layer.dead, layer.units)).collect();
    assert_eq!(short[0], ("2", 1, 4));
    assert_eq!((short[1].0, short[1].2), ("6", 6));
    assert!(short[1].1 >= 2);
    assert_eq!((short[2].0, short[2].2), ("7.body.2", 6));
    assert!(short[2].1 >= 1);
}

#[test]
fn layers_and_filters_become_pictures() {
    let arch: Arch = "conv5:3x4 relu pool2 flatten dense10".parse().expect("it is one");
    let mut network = network(&arch);
    let explanation = explain(&mut *network, &arch, &image(1), Some(2)).expect("the CPU does not fail");
    let shapes: Vec<_> = explanation
        .layers
        .iter()
        .map(|maps| (maps.layer.as_str(), maps.pictures.len(), maps.pictures[0].size))
        .collect();
    assert_eq!(shapes, [("conv5:3x4", 5, [26, 25]), ("relu", 5, [26, 25]), ("pool2", 5, [13, 12])]);
    assert_eq!((explanation.filters.pictures.len(), explanation.filters.pictures[0].values.len()), (5, 12));
    let weights = &network.state().expect("the CPU does not fail").tensors[0].values;
    assert_eq!(explanation.filters.pictures[1].values, weights[12..24]);
    let dense: Arch = "mlp".parse().expect("a preset");
    let state = self::network(&dense).state().expect("the CPU does not fail");
    let filters = Reading::new(&dense, &state).expect("they belong together").filters();
    assert_eq!((filters.pictures.len(), filters.pictures[0].size), (128, [SIDE, SIDE]));
    assert!(Reading::new(&arch, &state).is_err());
}
