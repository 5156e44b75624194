//! What reads bytes or text that came from outside, each reader as a function of any bytes at all. None may panic, fill the
//! memory or take long; what is read must hold what is asserted here.
//!
//! The fuzzer and the test that gives it all kept inputs share this file.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, header};
use clap::Parser;
use mnist_lab::arch::{Arch, Shape};
use mnist_lab::attach::frame::{self, FrameError};
use mnist_lab::attach::wire::{self, Ask, Asked, Told};
use mnist_lab::cli::{Config, Grammar};
use mnist_lab::command::Command;
use mnist_lab::data::idx::{Idx, Kind};
use mnist_lab::data::load::{self, Source};
use mnist_lab::data::picture::{self, MOST_DIGITS, MOST_PIXELS, PictureError, Preprocess, Preprocessed};
use mnist_lab::data::{Batch, CLASSES, Images, PIXELS, SIDE};
use mnist_lab::export::safetensors;
use mnist_lab::import::{self, Imported};
use mnist_lab::lab::model::Model;
use mnist_lab::nn::{self, DeviceChoice, Setup};
use mnist_lab::reply::Reply;
use mnist_lab::serve::Upload;
use mnist_lab::session::card::Card;
use mnist_lab::session::{self, VERSION};
use mnist_lab::state::LabState;
use mnist_lab::train::settings::{Setting, Settings};
use mnist_lab::tune::importance::importance;
use mnist_lab::tune::journal::Journal;
use mnist_lab::tune::plan::open_tasks;
use mnist_lab::tune::propose::propose;
use mnist_lab::tune::space::Space;
use tokio::runtime::{Builder, Runtime};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A reader, and how it is called: the folder of its inputs has the same name.
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Reads these bytes, and checks what came of it.
    pub read: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 20] = [
    Target { name: "idx", read: idx },
    Target { name: "dataset", read: dataset },
    Target { name: "session", read: session },
    Target { name: "session-payload", read: session_payload },
    Target { name: "model", read: model },
    Target { name: "keras-config", read: keras_config },
    Target { name: "keras-weights", read: keras_weights },
    Target { name: "safetensors-header", read: safetensors_header },
    Target { name: "command", read: command },
    Target { name: "arguments", read: arguments },
    Target { name: "arch", read: arch },
    Target { name: "settings", read: settings },
    Target { name: "config", read: config },
    Target { name: "space", read: space },
    Target { name: "journal", read: journal },
    Target { name: "body", read: body },
    Target { name: "picture", read: picture },
    Target { name: "pixels", read: pixels },
    Target { name: "asked", read: asked },
    Target { name: "told", read: told },
];

/// An IDX file, of either kind.
fn idx(bytes: &[u8]) {
    for kind in [Kind::Images, Kind::Labels] {
        if let Ok(idx) = Idx::read(kind, bytes, bytes.len() as u64) {
            assert_eq!(idx.bytes(), bytes);
            assert_eq!(idx.body().len(), idx.count() * kind.item_len());
        }
    }
}

/// The four files of a data set, raw or compressed. The first byte says which of them the others are; those beside it are whole.
fn dataset(bytes: &[u8]) {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    let mut number = 0;
    let sources = load::FILES.map(|(name, kind)| {
        let is_this = number == usize::from(which % 4);
        number += 1;
        let file = if is_this { bytes.to_vec() } else { one_sample(kind) };
        Source { path: name.into(), len: file.len() as u64, reader: Box::new(Cursor::new(file)) }
    });
    if let Ok(dataset) = load::load("fuzzed".into(), sources) {
        assert_eq!((dataset.train.len(), dataset.test.len()), (1, 1));
    }
}

/// An IDX file with one sample.
fn one_sample(kind: Kind) -> Vec<u8> {
    let sizes: &[u32] = if kind == Kind::Images { &[1, SIDE as u32, SIDE as u32] } else { &[1] };
    let head = sizes.iter().flat_map(|size| size.to_be_bytes());
    kind.magic().into_iter().chain(head).chain(std::iter::repeat_n(7, kind.item_len())).collect()
}

/// A session's file.
fn session(bytes: &[u8]) {
    let Ok(session) = session::decode(bytes) else { return };
    let written = session::encode(&session).expect("what was read can be written");
    let again = session::decode(&written).expect("what was written can be read");
    assert!(session::encode(&again).is_ok_and(|again| again == written), "what is written twice is the same");
    // A network of any size would take longer than all else.
    let arch = &session.run.config.arch;
    if arch.parameters() > 10_000
        || session.run.network.tensors.iter().map(|tensor| tensor.values.len()).sum::<usize>() > 10_000
    {
        return;
    }
    let setup = Setup { device: DeviceChoice::Cpu, threads: 1, ..Setup::default() };
    let (mut network, _) = nn::build(arch, &setup).expect("every architecture can be built");
    if network.restore(&session.run.network).is_ok() {
        let images = Arc::new(Images::new(vec![9; PIXELS], vec![3]));
        network.logits(&Batch::new(images, vec![0])).expect("what was restored answers");
    }
}

/// The payload of a session's file, after its version: length and checksum are made right, which no chance would.
fn session_payload(bytes: &[u8]) {
    let Some((&version, payload)) = bytes.split_first() else { return };
    let mut file = b"MNISTLAB".to_vec();
    file.extend(u32::from(version).min(VERSION + 1).to_le_bytes());
    file.extend((payload.len() as u64).to_le_bytes());
    file.extend(blake3::hash(payload).as_bytes());
    file.extend(payload);
    session(&file);
}

/// A model file of another program; the format is told by its content.
fn model(bytes: &[u8]) {
    for arch in [None, Some(&*SMALLEST)] {
        if let Ok(imported) = import::decode(bytes, arch) {
            comes_back(imported);
        }
    }
}

/// Layers with few weights, for files that don't tell theirs.
static SMALLEST: LazyLock<Arch> = LazyLock::new(|| "pool7 flatten dense10".parse().expect("it is one"));

/// Checks that a model that was read is whole, and is the same once it was written and read again.
fn comes_back(imported: Imported) {
    let Imported { arch, tensors, dropout, .. } = imported;
    for tensor in &tensors {
        assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
        assert!(tensor.values.iter().all(|value| value.is_finite()));
    }
    Setting::Dropout.set(&mut Settings::default(), &dropout.to_string()).expect("the setting can be what it is");
    if arch.parameters() > 100_000 {
        return;
    }
    let card = Card {
        mnist_lab: String::new(),
        arch: arch.to_string(),
        dropout,
        input: String::new(),
        classes: Vec::new(),
        data: String::new(),
        test_accuracy: 0.5,
    };
    let images = Arc::new(Images::default());
    let model = Model { arch, tensors, settings: Settings::default(), card, train: images.clone(), test: images };
    let written = safetensors::encode(&model).expect("what was read can be written");
    let again = import::decode(&written, None).expect("what was written can be read");
    assert_eq!((again.arch, again.tensors, again.card), (model.arch, model.tensors, Some(model.card)));
}

/// A file that Keras saved: configuration and weights.
pub static KERAS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let mut archive =
        zip::ZipArchive::new(Cursor::new(include_bytes!("../fixtures/keras.keras"))).expect("it is whole");
    ["config.json", "model.weights.h5"].map(|name| {
        let mut bytes = Vec::new();
        archive.by_name(name).expect("it is there").read_to_end(&mut bytes).expect("it can be read");
        bytes
    })
});

/// The configuration of a `.keras` file, beside weights that are whole.
fn keras_config(bytes: &[u8]) {
    model(&keras(bytes, &KERAS[1]));
}

/// The weights of a `.keras` file, beside a configuration that is whole.
fn keras_weights(bytes: &[u8]) {
    model(&keras(&KERAS[0], bytes));
}

fn keras(config: &[u8], weights: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("config.json", config), ("model.weights.h5", weights)] {
        let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(name, stored).and_then(|()| Ok(archive.write_all(bytes)?)).expect("memory takes all");
    }
    archive.finish().expect("memory takes all").into_inner()
}

/// The header of a safetensors file, whose length is made right, before as much data as the smallest network has.
fn safetensors_header(bytes: &[u8]) {
    let weights = 4 * SMALLEST.parameters();
    let mut file = (bytes.len() as u64).to_le_bytes().to_vec();
    file.extend(bytes);
    file.extend(std::iter::repeat_n(0, weights));
    model(&file);
}

/// A line of the lab's command line.
fn command(bytes: &[u8]) {
    let line = String::from_utf8_lossy(bytes);
    if let Ok(Some(command)) = Command::parse(&line) {
        let written = command.to_string();
        assert_eq!(Command::parse(&written), Ok(Some(command)), "{line:?} as {written:?}");
    }
}

/// The arguments that the program is started with, as a shell would split them.
fn arguments(bytes: &[u8]) {
    let Some(words) = shlex::split(&String::from_utf8_lossy(bytes)) else { return };
    if let Err(error) = Grammar::try_parse_from(std::iter::once("mnist-lab".to_owned()).chain(words)) {
        assert!(!error.render().to_string().is_empty());
    }
}

/// An architecture as text.
fn arch(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(arch) = text.parse::<Arch>() else { return };
    let written = arch.to_string();
    assert_eq!(written.parse().as_ref(), Ok(&arch), "{text:?} as {written:?}");
    assert_eq!(arch.shapes().last(), Some(&Shape::Vector(CLASSES)));
    assert!(arch.parameters() <= 50_000_000 && arch.places().len() <= 200, "{written}");
}

/// Settings as they are typed: on each line a name, a space and a value.
fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut settings = Settings::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        let Ok(setting) = name.parse::<Setting>() else { continue };
        let before = settings.clone();
        if setting.set(&mut settings, value).is_err() {
            assert_eq!(settings, before, "a refused value changes nothing");
            continue;
        }
        let mut again = before;
        setting.set(&mut again, &setting.get(&settings)).expect("a setting takes back its own text");
        assert_eq!(again, settings, "{name} {value:?}");
        for value in [true, false].iter().filter_map(|up| setting.nudge(&settings, *up)) {
            setting.set(&mut again, &value).expect("a setting takes what the arrows give it");
        }
        assert!([0.0, 0.5, 7.25, 1e9].iter().all(|&done| settings.schedule.factor(done, settings.epochs) >= 0.0));
    }
}

/// The configuration file.
fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = text.parse::<Config>();
}

/// A space to be searched.
fn space(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(space) = Space::parse(&text, "here") else { return };
    let written = serde_json::to_string(&space).expect("a space can be written");
    assert_eq!(serde_json::from_str::<Space>(&written).ok().as_ref(), Some(&space), "{written}");
    assert_eq!(space.check(), Ok(()));
    for place in [0.0, 0.3, 0.5, 0.9, 1.0] {
        let values = space.values(&vec![place; space.parameters.len()]);
        assert!(space.places(&values).iter().all(|place| (0.0..=1.0).contains(place)), "{values:?}");
        let _ = space.arch(&values);
        let _ = space.settings(&Settings::default(), &values);
    }
}

/// The folder of a search: the first line is what is searched, each further line came of a trial. Their seals are made right.
fn journal(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let write = |name: &str, line: &str| {
        let seal = blake3::hash(line.as_bytes()).to_hex();
        fs::write(folder.path().join(name), format!("{}\n{line}\n", &seal[..32])).expect("a file can be written");
    };
    write("search.json", lines.next().unwrap_or_default());
    for (number, line) in lines.take(9).enumerate() {
        write(&format!("trial-{number:04}.epoch-1.json"), line);
    }
    let Ok((mut journal, study)) = Journal::open(folder.path()) else { return };
    let written = serde_json::to_string(&study).expect("a study can be written");
    assert_eq!(serde_json::from_str(&written).ok(), Some(study.clone()), "{written}");
    // The program asks this before it works on a search.
    if study.check(60_000).is_err() || journal.refresh().is_err() {
        return;
    }
    let tasks = open_tasks(&study, journal.trials());
    for task in tasks.iter().take(2) {
        let values = propose(&study, task.trial, journal.trials());
        assert_eq!(values.len(), study.space.parameters.len());
    }
    let _ = importance(&study, journal.trials());
    let _ = journal.trials().best(study.objective).map(|trial| study.sentence(trial));
}

/// The body of a request to the server; what it is said to be stands before it, on a line of its own.
fn body(bytes: &[u8]) {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime can be made"));
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (kind, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let mut request = Request::new(Body::from(body.to_vec()));
    if let Ok(kind) = HeaderValue::from_bytes(kind) {
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    let _ = RUNTIME.block_on(Upload::from_request(request, &()));
}

/// An image file. Of those that are allowed, the largest take longer than a second here, where overflow is looked for.
fn picture(bytes: &[u8]) {
    let pixels = picture::pixels(bytes);
    if pixels.as_ref().is_ok_and(|pixels| (MOST_PIXELS / 8..=MOST_PIXELS).contains(pixels)) {
        return;
    }
    let prepared = [Preprocess::Auto, Preprocess::Raw].map(|preprocess| picture::decode(bytes, preprocess));
    for Preprocessed { size: [width, height], .. } in prepared.iter().flatten() {
        assert!(u64::from(*width) * u64::from(*height) <= MOST_PIXELS);
        assert_eq!(pixels, Ok(u64::from(*width) * u64::from(*height)));
    }
    let Ok(found) = picture::digits(bytes) else { return };
    assert!((1..=MOST_DIGITS).contains(&found.len()));
    for found in found {
        let ([left, top, width, height], size) = (found.place, found.digit.size);
        assert!(left + width <= size[0] && top + height <= size[1], "{:?} in {size:?}", found.place);
    }
}

/// The grey values of an image, as many as come; the others are black.
fn pixels(bytes: &[u8]) {
    let mut image = [0; PIXELS];
    image.iter_mut().zip(bytes).for_each(|(pixel, byte)| *pixel = *byte);
    let is_even = image.iter().all(|pixel| *pixel == image[0]);
    assert_eq!(picture::from_pixels(&image, Preprocess::Raw) == Err(PictureError::Blank), is_even);
    if let Ok(prepared) = picture::from_pixels(&image, Preprocess::Auto) {
        assert!(prepared.image.iter().any(|pixel| *pixel > 0));
    }
}

/// What a dashboard asks of the run that it is attached to.
fn asked(bytes: &[u8]) {
    let _ = wire::read_knock(&String::from_utf8_lossy(bytes));
    let _ = frame::read::<Ask>(&mut &bytes[..], frame::TO_LAB);
    let Ok(ask) = frame::read::<Ask>(&mut &*framed(bytes), frame::TO_LAB) else { return };
    let written = frame::encode(&ask, frame::TO_LAB).expect("what was read can be written");
    assert_eq!(frame::read::<Ask>(&mut &written[..], frame::TO_LAB).ok().as_ref(), Some(&ask));
    if let Ok(command) = ask.asked.command() {
        let again = Asked::from(command.clone()).command();
        assert_eq!(again.ok(), Some(command));
    }
}

/// What a run tells the dashboard that is attached to it.
fn told(bytes: &[u8]) {
    let _ = wire::read_answer(&String::from_utf8_lossy(bytes), "here");
    let _ = frame::read::<Told>(&mut &bytes[..], frame::TO_CLIENT);
    let read = |bytes: &[u8]| frame::read::<Told>(&mut &*framed(bytes), frame::TO_CLIENT);
    let Ok(told) = read(bytes) else { return };
    // Without the head, which is made anew.
    let body = |told: &Told| frame::encode(told, frame::TO_CLIENT).map(|frame| frame[8..].to_vec());
    let Ok(written) = body(&told) else { return };
    let again = read(&written).and_then(|told| body(&told)).expect("what was written can be read");
    assert!(again == written, "what is written twice is the same");
    match told {
        // The second time it meets a state that is no longer the first.
        Told::State(update) => {
            let mut state = LabState::default();
            let _: Result<(), FrameError> = (0..2).try_for_each(|_| update.clone().apply(&mut state));
        }
        Told::Answer { result: Ok(answer), .. } => drop(Reply::from(answer).to_string()),
        Told::Answer { .. } | Told::Welcome(_) | Told::Farewell(_) => {}
    }
}

/// A message as a frame: its length and checksum are made right.
fn framed(body: &[u8]) -> Vec<u8> {
    let head = [body.len() as u32, crc32fast::hash(body)];
    head.iter().flat_map(|number| number.to_le_bytes()).chain(body.iter().copied()).collect()
}
