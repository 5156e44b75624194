//! Architectures as data: text both ways, the shapes and sizes of the presets, and the sentences of the errors.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{Arch, DropoutRate, Layer, PRESETS, Shape};

fn parse(text: &str) -> Arch {
    text.parse().expect("the test's architecture is right")
}

#[test]
fn presets_are_right() {
    let sizes = [101_770, 61_706, 93_322, 370_954, 77_578, 326_410];
    for (preset, size) in PRESETS.iter().zip(sizes) {
        let arch = parse(preset.name);
        assert_eq!(arch, parse(preset.text), "{}", preset.name);
        assert_eq!(arch.to_string(), preset.text, "{}", preset.name);
        assert_eq!(arch.parameters(), size, "{}", preset.name);
        assert_eq!(arch.preset(), Some(preset.name));
        assert!(arch.has_live_dropout());
    }
    assert_eq!(Arch::default().preset(), Some("tutorial"));
    assert_eq!(parse("flatten dropout0.5 dense10").preset(), None);
    assert!(!parse("flatten dropout0.5 dense10").has_live_dropout());
}

#[test]
fn shapes_follow_the_layers() {
    let check = |text: &str, expected: &str| {
        let shapes: Vec<String> = parse(text).shapes().iter().map(Shape::to_string).collect();
        assert_eq!(shapes.join(" "), expected, "{text}");
    };
    check("conv8:3x3 pool2 flatten dense10", "26×26×8 13×13×8 1352 10");
    check("conv8:3x5:s2:p2 pool3:s2 gap dense10", "15×14×8 7×6×8 8 10");
    check("conv4:1x1 res(conv8:3x3:s2:p1 | pool2 conv8:1x1) gap dense10", "28×28×4 14×14×8 8 10");
}

#[test]
fn places_name_the_layers_inside_blocks() {
    let arch = parse("conv4:1x1 res(bn conv8:1x1 | conv8:1x1) gap dense10");
    let names: Vec<String> = arch.places().into_iter().map(|place| place.name).collect();
    assert_eq!(names, ["1", "2", "2.body.1", "2.body.2", "2.shortcut.1", "3", "4"]);
}

#[test]
fn errors_say_where_what_and_what_to_do() {
    let check = |text: &str, expected: &str| {
        let error = text.parse::<Arch>().expect_err(text).to_string();
        assert!(error.contains(expected), "`{text}`: {error}");
    };
    check("", "an architecture is a preset (mlp, lenet5, tutorial, wide, resnet, strided) or a list of layers");
    check("tutorail", "`tutorail` is no layer: did you mean `tutorial`?");
    check("convv32:3x3 flatten dense10", "`convv32:3x3` is no layer: did you mean `conv`?");
    check("flatten xyzzy", "`xyzzy` is no layer: layers are conv, pool,");
    check("conv:3x3 flatten dense10", "`conv:3x3`: a whole number of filters must follow `conv`, as in conv32:3x3");
    check("conv8 flatten dense10", "`conv8`: the kernel is missing, as in conv32:3x3");
    check("conv8:3x3:q1", "`q1` is no option (:s2 is a stride, :p1 padding)");
    check("pool2:p1", "`p1` is no option (:s2 is a stride)");
    check("flatten dense10:3", "`:3` is too much");
    check("relu6", "`relu6`: nothing may follow the word");
    check("dropout1.0 flatten dense10", "a rate from 0 to below 1, or nothing");
    check("dropoutNaN flatten dense10", "`dropoutNaN` is no layer");
    check(
        "conv8:9x9 flatten dense10",
        "layer 1 `conv8:9x9` gets 28×28×1 but needs a kernel of 1 to 7 rows and columns",
    );
    check("conv8:3x3:s3 flatten dense10", "needs a stride of 1 or 2");
    check("conv8:3x3:p3 flatten dense10", "needs less padding than");
    check("conv0:3x3 flatten dense10", "needs 1 to 100000 filters");
    check("flatten dense0", "needs 1 to 100000 units");
    check("pool0 flatten dense10", "needs a window and a stride of at least 1");
    check(
        "pool14 conv8:3x3 flatten dense10",
        "layer 2 `conv8:3x3` gets 2×2×1 from `pool14` but needs at least 3×3: use a smaller kernel, padding (:p1), or less \
         pooling before it",
    );
    check("pool9 pool5 flatten dense10", "layer 2 `pool5` gets 3×3×1 from `pool9` but needs at least 5×5");
    check(
        "conv8:3x3 dense10",
        "layer 2 `dense10` gets 26×26×8 from `conv8:3x3` but needs a vector: put flatten or gap",
    );
    check("flatten conv8:3x3", "layer 2 `conv8:3x3` gets 784 from `flatten` but needs an image: put it before flatten");
    check("flatten gap dense10", "needs an image");
    check(
        "flatten dense7",
        "the last layer must give 10 values, one for each class, but `dense7` gives 7: end with dense10",
    );
    check("conv8:3x3 relu", "but `relu` gives 26×26×8");
    check(
        "res(conv8:3x3:p1) gap dense10",
        "layer 1 `res(…)` gets 28×28×1 but its body gives 28×28×8 and its input 28×28×1, which can't be added: give the body \
         the shape of its input, or add a shortcut as in res(… | conv8:1x1)",
    );
    check("res(conv8:3x3 | conv8:1x1) gap dense10", "its body gives 26×26×8 and its shortcut 28×28×8");
    check("res(relu dense5) gap dense10", "in its body layer 2 `dense5` gets 28×28×1 from `relu` but needs a vector");
    check("res() gap dense10", "has no layer inside");
    check("res gap dense10", "`res` needs its layers in brackets");
    check("res(relu gap dense10", "`)` is missing at the end");
    check("res(relu | relu | relu) gap dense10", "two ways");
    check("relu) gap dense10", "`)` stands outside of a residual block");
    check("res(res(res(res(res(relu))))) gap dense10", "more than 4 deep");
    check("(relu) gap dense10", "`(` belongs to a residual block");
    check(&format!("{} flatten dense10", "relu ".repeat(200)), "202 layers are more than the 200");
    check("flatten dense60000 dense60000 dense10", "more than the 50000000 that are allowed");
    check("conv100000:1x1 gap dense10", "gives 78400000 values a sample, more than the 2000000");
    check("flatten dense99999999999999999999", "a whole number of units must follow");
}

/// Layers that keep the shape of their input, so that any sequence of them fits.
fn body() -> impl Strategy<Value = Vec<Layer>> {
    let rate = (0_u32..1000).prop_map(|thousandths| thousandths as f32 / 1000.0);
    let leaf = prop_oneof![
        (1_usize..=7).prop_filter("same size", |size| size % 2 == 1).prop_map(|size| Layer::Conv {
            filters: 1,
            kernel: [size, size],
            stride: 1,
            padding: size / 2,
        }),
        proptest::strategy::Just(Layer::MaxPool { size: 1, stride: 1 }),
        proptest::strategy::Just(Layer::Relu),
        proptest::strategy::Just(Layer::BatchNorm),
        proptest::strategy::Just(Layer::Dropout(DropoutRate::Setting)),
        rate.prop_map(|rate| Layer::Dropout(DropoutRate::Fixed(rate))),
    ];
    let layer = leaf.prop_recursive(3, 12, 3, |inner| {
        (vec(inner.clone(), 1..3), vec(inner, 0..3)).prop_map(|(body, shortcut)| Layer::Residual { body, shortcut })
    });
    vec(layer, 0..5)
}

proptest! {
    #[test]
    fn text_goes_both_ways(body in body(), kernel in [1_usize..=7, 1_usize..=7], stride in 1_usize..=2, pool in 1_usize..=3) {
        let mut layers = body;
        layers.push(Layer::Conv { filters: 3, kernel, stride, padding: kernel[0].min(kernel[1]) - 1 });
        layers.push(Layer::MaxPool { size: 2, stride: pool });
        layers.extend([Layer::Flatten, Layer::Dense { units: 10 }]);
        let arch = Arch::new(layers).expect("every layer fits");
        prop_assert_eq!(parse(&arch.to_string()), arch);
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = text.parse::<Arch>();
    }

    #[test]
    fn no_text_of_the_grammar_panics(words in vec("(conv|pool|dense|res|gap|bn|relu|flatten|dropout)?[0-9]{0,9}(:[sp]?[0-9x.]{0,4}){0,2}[()| ,]{0,2}", 0..8)) {
        if let Ok(arch) = words.concat().parse::<Arch>() {
            prop_assert!(arch.parameters() <= 50_000_000);
            prop_assert_eq!(parse(&arch.to_string()), arch);
        }
    }
}
