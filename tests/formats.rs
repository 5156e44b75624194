//! Model files: what is exported comes back whole, what can't be said here is refused, and no bytes whatever make a reader panic.
#![expect(clippy::unwrap_used, reason = "a test that can't go on stops")]

use std::io::{Cursor, Read, Write};
use std::sync::{Arc, LazyLock};

use ::safetensors::tensor::{Dtype, TensorView};
use ::safetensors::{SafeTensors, serialize};
use mnist_lab::arch::Arch;
use mnist_lab::command::Quantization;
use mnist_lab::data::{Batch, CLASSES, Dataset, Images, PIXELS, SIDE};
use mnist_lab::export::{h5, keras, onnx, safetensors, tflite};
use mnist_lab::import::{self, Imported};
use mnist_lab::lab::model::Model;
use mnist_lab::metrics::{argmax, softmax};
use mnist_lab::nn::{self, DeviceChoice, NamedTensor, NetworkState, Setup, param};
use mnist_lab::random::{Purpose, Stream};
use mnist_lab::session::card::Card;
use mnist_lab::train::settings::Settings;
use proptest::prelude::{ProptestConfig, Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};
use tract_onnx::prelude::*;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, ZipArchive};

/// Architectures with everything in them that a format treats differently.
const ARCHITECTURES: [&str; 7] = [
    "flatten dense10",
    "conv4:3x5:s2:p1 bn relu conv6:2x4:p1 relu pool3:s2 dropout0.25 flatten bn dense12 relu dropout dense10",
    "conv4:3x3:p1 bn relu res(conv4:3x3:p1 bn relu conv4:3x3:p1 bn) relu pool2 \
     res(conv6:3x1:s2 relu conv6:1x2 | conv6:5x5:s2:p1) relu gap bn dense10",
    "pool2 bn flatten res(dense196 relu | dense196) relu res(dense196) dropout dense10",
    "conv3:5x5:s2 relu res(res(conv3:3x3:p1 | conv3:1x1) relu) pool2 conv10:1x1 gap",
    "conv4:3x3 res(dropout0.25 bn relu conv4:3x3:p1) relu pool2 flatten dense32 res(dropout relu dense32) dense10",
    "tutorial",
];

type Encode = fn(&Model) -> Vec<u8>;

/// The formats that are read again.
const READ_AGAIN: [(&str, Encode); 3] = [
    ("h5", |model| h5::encode(model).unwrap()),
    ("keras", |model| keras::encode(model).unwrap()),
    ("safetensors", |model| safetensors::encode(model).unwrap()),
];

/// A network with numbers that tell where they are from.
fn model(arch: &str) -> Model {
    let arch: Arch = arch.parse().unwrap();
    let tensor = |(index, spec): (usize, param::Spec)| {
        let mut stream = Stream::new(7, Purpose::Initialise, [index as u64, 1]);
        let low = if spec.kind == param::Kind::Variance { 0.5 } else { -1.0 };
        let values = (0..spec.len()).map(|_| stream.uniform(low, 1.0)).collect();
        NamedTensor { name: spec.name, shape: spec.shape, values }
    };
    let pixels = |count: usize| (0..count * PIXELS).map(|n| (n % 251) as u8).collect();
    let images = Arc::new(Images::new(pixels(4), vec![0, 1, 2, 3]));
    let card = Card {
        mnist_lab: "0".into(),
        arch: arch.to_string(),
        dropout: 0.3,
        input: "grey".into(),
        classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"].map(String::from).into(),
        data: "MNIST".into(),
        test_accuracy: 0.5,
    };
    let tensors = param::specs(&arch).into_iter().enumerate().map(tensor).collect();
    Model { arch, tensors, settings: Settings::default(), card, train: images.clone(), test: images }
}

/// Checks that nothing of `arch` is lost on the way out and back.
#[track_caller]
fn comes_back(arch: &str) {
    let model = model(arch);
    for (format, encode) in READ_AGAIN {
        let Imported { arch: back, tensors, dropout, card } =
            import::decode(&encode(&model), None).unwrap_or_else(|problem| panic!("{arch} as {format}: {problem}"));
        assert_eq!(back, model.arch, "{format}");
        assert_eq!(card.as_ref(), Some(&model.card), "{format}");
        assert_eq!(dropout.to_bits(), model.card.dropout.to_bits(), "{arch} as {format}");
        for (back, tensor) in tensors.iter().zip(&model.tensors) {
            let bits = |tensor: &NamedTensor| tensor.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!((&back.name, &back.shape), (&tensor.name, &tensor.shape), "{arch} as {format}");
            assert!(bits(back) == bits(tensor), "{arch} as {format}: {} changed", tensor.name);
        }
    }
}

#[test]
fn what_is_exported_comes_back_bit_for_bit() {
    for arch in ARCHITECTURES {
        comes_back(arch);
    }
}

static DIGITS: LazyLock<Arc<Images>> = LazyLock::new(|| Dataset::open(None).unwrap().test);

/// A residual network that Keras 3 trained and saved, and the probabilities that it gives for the first test digits.
const BY_KERAS: [&[u8]; 2] = [include_bytes!("fixtures/keras.h5"), include_bytes!("fixtures/keras.keras")];

#[test]
fn a_network_that_keras_trained_gives_here_what_it_gives_there() {
    let there: Vec<[f32; CLASSES]> = serde_json::from_str(include_str!("fixtures/keras.json")).unwrap();
    for bytes in BY_KERAS {
        let Imported { arch, tensors, dropout, .. } = import::decode(bytes, None).unwrap();
        let expected = "conv2:3x5:s2 relu bn res(conv2:3x3:p1) relu pool3 flatten dropout dense10";
        assert_eq!((arch.to_string().as_str(), dropout.to_bits()), (expected, 0.3_f32.to_bits()));
        let (mut network, _) = nn::build(&arch, &Setup { device: DeviceChoice::Cpu, ..Setup::default() }).unwrap();
        network.restore(&NetworkState { tensors, ..network.state().unwrap() }).unwrap();
        let logits = network.logits(&Batch::new(DIGITS.clone(), (0..there.len() as u32).collect())).unwrap();
        for (there, logits) in there.iter().zip(&logits) {
            let difference =
                there.iter().zip(softmax(logits)).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap();
            assert!(difference < 1e-6, "{difference}");
        }
    }
}

#[test]
fn every_architecture_has_a_file_in_every_format() {
    for arch in ARCHITECTURES {
        let mut model = model(arch);
        let weights: usize = model.tensors.iter().map(|tensor| tensor.values.len()).sum();
        assert!(onnx::encode(&model).len() > 4 * weights, "{arch}");
        // Digits with the labels that the network gives them: what is wrong then is what quantisation costs.
        let label = |image| argmax(&tflite::probabilities(&model, image).try_into().unwrap());
        let labels = (0..10).map(|index| label(DIGITS.image(index))).collect();
        let pixels = (0..10).flat_map(|index| *DIGITS.image(index)).collect();
        model.test = Arc::new(Images::new(pixels, labels));
        model.train = model.test.clone();
        let whole = tflite::encode(&model, Quantization::None).bytes.len();
        for (quantization, least) in [(Quantization::F16, 0.9), (Quantization::Dynamic, 0.5), (Quantization::Int8, 0.5)]
        {
            let tflite::Encoded { bytes, accuracy } = tflite::encode(&model, quantization);
            assert_eq!(&bytes[4..8], b"TFL3");
            assert!(accuracy.is_some_and(|accuracy| (least..=1.0).contains(&accuracy)), "{arch}: {accuracy:?}");
            // Scales of their own outweigh what small weights save.
            if quantization == Quantization::Int8 && weights > 5000 {
                assert!(whole > 2 * bytes.len(), "{arch}");
            }
        }
    }
}

/// What tract, another program that reads ONNX, makes of a file for these images `[sample, channel, height, width]`.
fn by_tract(file: Vec<u8>, images: &Images, count: usize) -> TractResult<Vec<f32>> {
    let plan = tract_onnx::onnx()
        .model_for_read(&mut Cursor::new(file))?
        .with_input_fact(0, f32::fact([count, 1, SIDE, SIDE]).into())?
        .into_optimized()?
        .into_runnable()?;
    let grey = |(sample, _, row, column)| f32::from(images.image(sample)[row * SIDE + column]) / 255.0;
    let input: Tensor = tract_ndarray::Array4::from_shape_fn((count, 1, SIDE, SIDE), grey).into();
    let output = plan.run(tvec!(input.into()))?;
    Ok(output[0].to_plain_array_view::<f32>()?.iter().copied().collect())
}

/// Checks that the files of a network of `arch` are computed as the network is: ONNX by tract, TensorFlow Lite as its
/// quantisation is measured. Gives the probabilities of some digits.
#[track_caller]
fn computed_alike(arch: &str) -> Vec<f32> {
    const COUNT: usize = 8;
    let mut model = model(arch);
    for tensor in model.tensors.iter_mut().filter(|tensor| tensor.name.ends_with("weight")) {
        // So that no probability is all or nothing.
        let inputs: usize = tensor.shape[1..].iter().product();
        tensor.values.iter_mut().for_each(|value| *value /= (inputs as f32).sqrt());
    }
    let setup = Setup { device: DeviceChoice::Cpu, threads: 1, ..Setup::default() };
    let (mut network, _) = nn::build(&model.arch, &setup).unwrap();
    let state = NetworkState { tensors: model.tensors.clone(), ..network.state().unwrap() };
    network.restore(&state).unwrap();
    let logits = network.logits(&Batch::new(DIGITS.clone(), (0..COUNT as u32).collect())).unwrap();
    let ours: Vec<f32> = logits.iter().flat_map(softmax).collect();
    let onnx = by_tract(onnx::encode(&model), &DIGITS, COUNT).unwrap_or_else(|error| panic!("{arch}: {error:#}"));
    let tflite = (0..COUNT).flat_map(|index| tflite::probabilities(&model, DIGITS.image(index))).collect();
    // Folding batch norm into the weights rounds once more.
    for (format, there, most) in [("onnx", onnx, 1e-5), ("tflite", tflite, 1e-4)] {
        assert_eq!(there.len(), ours.len(), "{arch} as {format}");
        let difference = there.iter().zip(&ours).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap();
        assert!(difference < most, "{arch} as {format}: {difference}");
    }
    ours
}

#[test]
fn what_is_exported_is_computed_alike_elsewhere() {
    for arch in ARCHITECTURES {
        let ours = computed_alike(arch);
        assert!(ours.iter().any(|probability| (0.01..0.9).contains(probability)), "{arch}: {ours:?}");
    }
}

/// Layers that may stand before the end, and ends; together they are an architecture more often than not.
fn architecture() -> impl Strategy<Value = String> {
    let conv = (1..6_usize, 1..6_usize, 1..6_usize, 1..3_usize, 0..3_usize).prop_map(
        |(filters, height, width, stride, padding)| format!("conv{filters}:{height}x{width}:s{stride}:p{padding}"),
    );
    let pool = (2..4_usize, 1..4_usize).prop_map(|(size, stride)| format!("pool{size}:s{stride}"));
    let others = prop::sample::select(vec![
        "relu",
        "bn",
        "dropout",
        "dropout0.25",
        "res(bn)",
        "res(relu | bn)",
        "res(dropout relu)",
        "res(dropout bn | relu)",
    ]);
    let layer = prop_oneof![3 => conv, 1 => pool, 3 => others.prop_map(str::to_owned)];
    let ends = vec!["flatten dense10", "flatten bn dense12 relu dropout dense10", "conv10:1x1 gap", "gap relu dense10"];
    (prop::collection::vec(layer, 1..7), prop::sample::select(ends)).prop_filter_map("it is none", |(layers, end)| {
        let text = format!("{} {end}", layers.join(" "));
        text.parse::<Arch>().ok().filter(|arch| arch.parameters() < 100_000).map(|arch| arch.to_string())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_architecture_comes_back_and_is_computed_alike_elsewhere(arch in architecture()) {
        comes_back(&arch);
        computed_alike(&arch);
        for quantization in [Quantization::None, Quantization::Int8] {
            prop_assert_eq!(&tflite::encode(&model(&arch), quantization).bytes[4..8], b"TFL3");
        }
    }
}

/// The weights as `PyTorch` saves them, with nothing that says what they are of.
fn bare(model: &Model) -> Vec<u8> {
    let bytes = safetensors::encode(model).unwrap();
    let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    // Beside its running statistics it counts batches.
    let count = |name: &str| Some(format!("{}.num_batches_tracked", name.strip_suffix(".running_mean")?));
    let counts: Vec<String> = tensors.iter().filter_map(|(name, _)| count(name)).collect();
    let zero = TensorView::new(Dtype::I64, Vec::new(), &[0; 8]).unwrap();
    tensors.extend(counts.into_iter().map(|name| (name, zero.clone())));
    serialize(tensors, None).unwrap()
}

#[test]
fn weights_alone_need_to_be_told_the_layers() {
    let model = model("conv2:3x5 relu flatten dense10 dense10");
    let bytes = bare(&model);
    let refused = |arch: Option<&str>| {
        let arch: Option<Arch> = arch.map(|arch| arch.parse().unwrap());
        import::decode(&bytes, arch.as_ref()).unwrap_err()
    };
    assert!(refused(None).contains("--arch"));
    assert!(refused(Some("flatten dense10")).contains("`1.weight`"), "{}", refused(Some("flatten dense10")));
    assert!(refused(Some("conv2:5x3 relu flatten dense10 dense10")).contains("shape"));
    let shorter = refused(Some("conv2:3x5 relu flatten dense10"));
    assert!(shorter.contains("`4.bias`") && shorter.contains("all layers"), "{shorter}");
    let back = import::decode(&bytes, Some(&model.arch)).unwrap();
    assert_eq!(back.tensors, model.tensors);
}

#[test]
fn weights_alone_of_what_is_added_in_another_order_are_refused() {
    let model = model("conv2:3x5 flatten res(dense1248) dense10");
    let refused = import::decode(&bare(&model), Some(&model.arch)).unwrap_err();
    assert!(refused.contains("PyTorch flattens in another order"), "{refused}");
    let other = self::model("conv2:3x5 flatten dense7 relu res(dense7) dense10");
    assert_eq!(import::decode(&bare(&other), Some(&other.arch)).unwrap().tensors, other.tensors);
}

/// The file of the network that Keras trained, with something changed in its configuration.
fn by_keras(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut whole = ZipArchive::new(Cursor::new(BY_KERAS[1])).unwrap();
    let mut entry = |name: &str| {
        let mut bytes = Vec::new();
        whole.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let mut config: Value = serde_json::from_slice(&entry("config.json")).unwrap();
    change(&mut config);
    let mut changed = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in
        [("config.json", config.to_string().into_bytes()), ("model.weights.h5", entry("model.weights.h5"))]
    {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        changed.start_file(name, stored).unwrap();
        changed.write_all(&bytes).unwrap();
    }
    changed.finish().unwrap().into_inner()
}

/// The first layer of this class in the configuration of a model.
fn layer<'a>(config: &'a mut Value, class: &str) -> &'a mut Value {
    let layers = config["config"]["layers"].as_array_mut().unwrap();
    layers.iter_mut().find(|layer| layer["class_name"] == class).unwrap()
}

#[test]
fn what_a_layer_does_otherwise_in_keras_is_refused() {
    let decode = |bytes: Vec<u8>| import::decode(&bytes, None).map(drop);
    let dilated = decode(by_keras(|config| layer(config, "Conv2D")["config"]["dilation_rate"] = json!([2, 1])));
    assert!(dilated.as_ref().is_err_and(|problem| problem.contains("dilated")), "{dilated:?}");
    let cropped = decode(by_keras(|config| layer(config, "Dropout")["class_name"] = json!("RandomCrop")));
    assert!(cropped.as_ref().is_err_and(|problem| problem.contains("RandomCrop")), "{cropped:?}");
    // What is nothing once the network is trained falls away.
    assert_eq!(decode(by_keras(|config| layer(config, "Dropout")["class_name"] = json!("RandomFlip"))), Ok(()));
}

/// The tensor of this kind of the first layer that has one.
fn first<'a>(tensors: &'a [NamedTensor], kind: &str) -> &'a [f32] {
    &tensors.iter().find(|tensor| tensor.name.ends_with(kind)).unwrap().values
}

/// Checks that a batch norm that was read does with our ε what it did with another.
#[track_caller]
fn does_the_same(ours: &[NamedTensor], theirs: &[NamedTensor], epsilon: f32) {
    for kind in [".shift", ".mean", ".variance"] {
        assert_eq!(first(ours, kind), first(theirs, kind));
    }
    let variances = first(theirs, ".variance");
    for ((ours, theirs), variance) in first(ours, ".scale").iter().zip(first(theirs, ".scale")).zip(variances) {
        let (ours, theirs) = (ours / (variance + 1e-3).sqrt(), theirs / (variance + epsilon).sqrt());
        assert!((ours - theirs).abs() <= 1e-5 * theirs.abs(), "{ours} instead of {theirs}");
    }
}

#[test]
fn a_batch_norm_with_another_epsilon_does_the_same() {
    let mut model = model("conv2:3x5 bn relu flatten dense10");
    let variance = model.tensors.iter_mut().find(|tensor| tensor.name.ends_with(".variance")).unwrap();
    // A channel that is always the same.
    variance.values[0] = 0.0;
    let back = import::decode(&bare(&model), Some(&model.arch)).unwrap();
    does_the_same(&back.tensors, &model.tensors, 1e-5);

    let changed = by_keras(|config| layer(config, "BatchNormalization")["config"]["epsilon"] = json!(1e-5));
    let [back, whole] = [&*changed, BY_KERAS[1]].map(|bytes| import::decode(bytes, None).unwrap().tensors);
    does_the_same(&back, &whole, 1e-5);
}

#[test]
fn what_is_no_model_is_refused_with_a_sentence() {
    let number = model("flatten dense10");
    let odd = |value| {
        let mut model = number.clone();
        model.tensors[0].values[3] = value;
        model
    };
    for (format, encode) in READ_AGAIN {
        for value in [f32::NAN, f32::INFINITY] {
            let problem = import::decode(&encode(&odd(value)), None).unwrap_err();
            assert!(problem.contains("2.weight") && problem.contains("number"), "{format}: {problem}");
        }
    }
    for bytes in [b"".as_slice(), b"PK", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"GIF89a", b"\0\0\0\0\0\0\0\0{}"] {
        let problem = import::decode(bytes, None).unwrap_err();
        assert!(problem.len() > 20 && !problem.contains('\n'), "{problem}");
    }
}

/// Changes in a file: bytes set to a value, then perhaps its end cut off.
type Changes = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>);

fn changed(whole: &[u8], (changes, cut): &Changes) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(whole.len())));
    bytes
}

static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let models = [
        "conv1:3x3:s2 bn relu res(conv1:1x1) pool3:s2 conv10:1x1 gap",
        "conv2:7x7:s2 pool2 flatten dropout0.5 dense10",
    ];
    let ours = models.iter().flat_map(|arch| READ_AGAIN.map(|(_, encode)| encode(&model(arch))));
    // Keras's own have no checksums: damage gets further.
    ours.chain(BY_KERAS.map(<[u8]>::to_vec)).collect()
});

/// A few thousand; `PROPTEST_CASES=100000` makes it a night's work.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3000)
}

/// Whether a reader gives a sentence, or a network that is whole.
fn survives(bytes: &[u8]) -> bool {
    match import::decode(bytes, None) {
        // What can be read is a network whose tensors are its own.
        Ok(imported) => {
            let specs = param::specs(&imported.arch);
            specs.len() == imported.tensors.len()
                && specs.iter().zip(&imported.tensors).all(|(spec, tensor)| spec.len() == tensor.values.len())
        }
        Err(problem) => !problem.is_empty(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_never_panics(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        prop_assert!(survives(&changed(&WHOLE[which.index(WHOLE.len())], &(changes, cut))));
    }

    #[test]
    fn damage_where_a_file_is_described_never_panics(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((0..4096_usize, any::<u8>()), 1..8),
    ) {
        let mut bytes = WHOLE[which.index(WHOLE.len())].clone();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        prop_assert!(survives(&bytes));
    }

    #[test]
    fn arbitrary_bytes_behind_a_beginning_never_panic(
        which in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let beginnings: [&[u8]; 3] = [b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x40\0\0\0\0\0\0\0{\"a\":"];
        prop_assert!(survives(&[beginnings[which.index(3)], &bytes].concat()));
    }
}
