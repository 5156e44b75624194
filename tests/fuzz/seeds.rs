//! What the fuzzer begins with of the formats that the program writes: the program is asked to write them, as small as can be.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, ImageFormat, Luma, RgbaImage};
use mnist_lab::attach::{frame, wire};
use mnist_lab::command::{Command, Depth};
use mnist_lab::data::idx::Kind;
use mnist_lab::data::{PIXELS, load};
use tempfile::TempDir;

/// Few weights.
const SMALL: &str = "pool7 flatten dropout dense10";
/// Bytes before a frame's message.
const HEAD: usize = 8;

/// What is done in a lab: a run with a branch, an average of its weights, and its best epoch, in every format.
const SCRIPT: &str = "train 1\nset early-stop 3\nset ema 0.9\nsave small\ntrain 1\nsave averaged\nrewind 1\nbranch slow\n\
    set lr 3e-4\nset augment rotate=5,noise=0.1\ntrain 1\nsave branched\n\
    new --teacher small\ntrain 1\nsave taught\nload branched\n\
    export -o small.h5\nexport -o small.keras\nexport -o small.safetensors\n\
    new \"conv1:5x5:s2 bn relu res(conv1:3x3:p1 | conv1:1x1 bn) pool4 flatten dense10\"\n\
    export -o residual.h5\nexport -o residual.keras\nexport -o residual.safetensors\n";

/// What the names of a search's results end with.
const RESULT: &str = ".json";
/// Messages at most.
const MESSAGES: usize = 24;

/// Writes all of them into the folder of inputs.
pub fn write(corpus: &Path) {
    let home = tempfile::tempdir().unwrap();
    let put = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(corpus.join(target)).unwrap();
        fs::write(corpus.join(target).join(name), bytes).unwrap();
    };
    let data = data(&home);
    for (number, (name, bytes)) in data.iter().enumerate() {
        let which = [number as u8];
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(bytes).unwrap();
        put("idx", name, bytes);
        put("dataset", name, &[&which, &bytes[..]].concat());
        put("dataset", &format!("{name}.gz"), &[&which, &packed.finish().unwrap()[..]].concat());
    }
    models(&home, &put);
    search(&home, &put);
    pictures(&put);
    messages(&home, &put);
}

/// Where an input goes: target, name, content.
type Put<'a> = &'a dyn Fn(&str, &str, &[u8]);

/// A folder with a data set of one digit a class; the inputs of its files hold one.
fn data(home: &TempDir) -> Vec<(&'static str, Vec<u8>)> {
    fs::create_dir(home.path().join("data")).unwrap();
    let digit = |number: usize| (0..PIXELS).map(move |pixel| if pixel % 10 == number { 200 } else { 0 });
    let file = |kind: Kind, count: usize| {
        let sizes = if kind == Kind::Images { vec![count as u32, 28, 28] } else { vec![count as u32] };
        let mut bytes = [kind.magic().to_vec(), sizes.into_iter().flat_map(u32::to_be_bytes).collect()].concat();
        match kind {
            Kind::Images => bytes.extend((0..count).flat_map(|number| digit(number % 10))),
            Kind::Labels => bytes.extend((0..count).map(|number| (number % 10) as u8)),
        }
        bytes
    };
    for (name, kind) in load::FILES {
        fs::write(home.path().join("data").join(name), file(kind, 20)).unwrap();
    }
    load::FILES.map(|(name, kind)| (name, file(kind, 1))).into()
}

/// The program in `home`, on the small data.
fn program(home: &TempDir) -> Process {
    let mut program = Process::new(env!("CARGO_BIN_EXE_mnist-lab"));
    program.current_dir(home.path()).args(["--data", "data", "--sessions", "sessions", "--threads", "1", "--quiet"]);
    program
}

fn run(program: &mut Process) {
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Sessions and model files.
fn models(home: &TempDir, put: Put) {
    run(program(home).args(["train", "--arch", SMALL, "--epochs", "1", "--batch-size", "8", "--save", "run"]));
    fs::write(home.path().join("script"), SCRIPT).unwrap();
    run(program(home).args(["repl", "run", "--script", "script"]));
    for name in ["small", "averaged", "branched", "taught"] {
        let bytes = fs::read(home.path().join("sessions").join(name).with_extension("mlab")).unwrap();
        put("session", name, &bytes);
        // The version, then what stands behind the header.
        put("session-payload", name, &[&bytes[8..9], &bytes[52..]].concat());
    }
    let old = include_bytes!("../fixtures/version-2.mlab");
    put("session", "version-2", old);
    put("session-payload", "version-2", &[&old[8..9], &old[52..]].concat());
    for name in ["small", "residual"] {
        for ending in ["h5", "keras", "safetensors"] {
            let name = format!("{name}.{ending}");
            let bytes = fs::read(home.path().join(&name)).unwrap();
            put("model", &name, &bytes);
            if ending == "safetensors" {
                let (length, rest) = bytes.split_first_chunk().unwrap();
                put("safetensors-header", &name, &rest[..u64::from_le_bytes(*length) as usize]);
            }
            if ending == "keras" {
                let mut archive = zip::ZipArchive::new(fs::File::open(home.path().join(&name)).unwrap()).unwrap();
                for (entry, target) in [("config.json", "keras-config"), ("model.weights.h5", "keras-weights")] {
                    let mut bytes = Vec::new();
                    archive.by_name(entry).unwrap().read_to_end(&mut bytes).unwrap();
                    put(target, &name, &bytes);
                }
            }
        }
    }
    let [config, weights] = &*super::targets::KERAS;
    put("keras-config", "by-keras", config);
    put("keras-weights", "by-keras", weights);
}

/// The journals of searches.
fn search(home: &TempDir, put: Put) {
    let space = format!(
        "arch = {:?}\n[parameters]\npool = [7, 14]\nlr = {{ from = 1e-4, to = 1e-2, log = true }}\n",
        SMALL.replace("pool7", "pool{pool}")
    );
    fs::write(home.path().join("space.toml"), space).unwrap();
    for algorithm in ["random", "tpe", "hyperband"] {
        run(program(home)
            .args(["tune", "--algorithm", algorithm, "--trials", "3", "--epochs", "3", "--space", "space.toml"])
            .args(["--jobs", "1", "--lag", "1", "--save", algorithm]));
        let folder = home.path().join("sessions").join(algorithm).with_extension("tune");
        let line = |name: &str| {
            let text = fs::read_to_string(folder.join(name)).unwrap();
            text.lines().nth(1).unwrap().to_owned()
        };
        let mut names: Vec<String> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("trial-") && name.ends_with(RESULT));
        names.sort();
        let lines: Vec<String> =
            std::iter::once("search.json").chain(names.iter().map(String::as_str)).map(line).collect();
        put("journal", algorithm, lines.join("\n").as_bytes());
    }
}

/// A stroke in every kind of file, and the bodies that bring one to the server.
fn pictures(put: Put) {
    let ink = |x: u32, y: u32| if (4..6).contains(&x) && (1..10).contains(&y) || y == 2 && x > 1 { 20 } else { 240 };
    let grey = GrayImage::from_fn(9, 12, |x, y| Luma([ink(x, y)]));
    let clear = RgbaImage::from_fn(12, 7, |x, y| image::Rgba([0, 0, 90, 255 - ink(x, y)]));
    let two = GrayImage::from_fn(20, 12, |x, y| Luma([ink(x % 10, y)]));
    let file = |image: image::DynamicImage, format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let png = file(grey.clone().into(), ImageFormat::Png);
    put("picture", "grey.png", &png);
    put("picture", "clear.png", &file(clear.into(), ImageFormat::Png));
    put("picture", "two.png", &file(two.into(), ImageFormat::Png));
    put("picture", "grey.jpeg", &file(grey.clone().into(), ImageFormat::Jpeg));
    put("picture", "grey.pgm", &file(grey.into(), ImageFormat::Pnm));
    put("picture", "plain.pgm", b"P2\n# ink\n3 3\n9\n9 9 9\n9 0 9\n9 0 9\n");
    put("picture", "plain.pbm", b"P1\n3 4\n000\n010\n010\n000\n");
    put(
        "picture",
        "map.pam",
        b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n\x00\xff\xff\x00",
    );
    put("pixels", "stroke", &(0..PIXELS as u32).map(|at| 255 - ink(at % 28, at / 28)).collect::<Vec<u8>>());
    put("pixels", "dust", &[0, 0, 0, 255]);
    put("pixels", "light", &[255; PIXELS - 9]);

    let form = b"multipart/form-data; boundary=b\n--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\n";
    put("body", "form", &[&form[..], &png, b"\r\n--b--\r\n"].concat());
    put("body", "file", &[b"image/png\n", &png[..]].concat());
    put("body", "bytes", &[b"application/octet-stream\n", &png[..]].concat());
    let pixels = format!("[{}]", vec!["7"; PIXELS].join(","));
    put("body", "pixels", format!("application/json\n{{\"pixels\":{pixels}}}").as_bytes());
    put("body", "images", format!("application/json; charset=utf-8\n{{\"images\":[{pixels}]}}").as_bytes());
    put("body", "few", b"application/json\n{\"images\":[[1,2],[]]}");
}

/// What a run and a dashboard that is attached to it say to each other, without the heads of their frames.
fn messages(home: &TempDir, put: Put) {
    let socket = home.path().join("lab.sock");
    let mut child = program(home)
        // Steps that take a while: the first message has the whole history.
        .args([
            "train",
            "--arch",
            "resnet",
            "--teacher",
            "small",
            "--epochs",
            "100000",
            "--batch-size",
            "1",
            "--no-save",
        ])
        .arg("--listen")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(error) if start.elapsed() > Duration::from_secs(20) => panic!("nobody listens: {error}"),
            Err(_) => sleep(Duration::from_millis(20)),
        }
    };
    put("asked", "knock", wire::knock(60).as_bytes());
    put("told", "open", wire::open().as_bytes());
    put("told", "refusal", wire::refusal("is full").as_bytes());
    (&stream).write_all(wire::knock(60).as_bytes()).unwrap();
    let mut reader = BufReader::new(&stream);
    reader.read_line(&mut String::new()).unwrap();
    let lines = [
        "set lr 1e-3",
        "predict 1",
        "advice",
        "next wrong",
        "eval",
        "explain 2",
        "nearest 1",
        "find true=4",
        "pause",
        "branch side",
        "train 0",
    ];
    let mut commands: Vec<Command> = lines.iter().filter_map(|line| Command::parse(line).ok().flatten()).collect();
    commands.push(Command::Classify { images: vec![[7; PIXELS]], depth: Depth::Classes });
    for (id, command) in (0..).zip(commands) {
        let ask = wire::Ask { id, asked: command.into() };
        let bytes = frame::encode(&ask, frame::TO_LAB).unwrap();
        put("asked", &format!("ask-{id}"), &bytes[HEAD..]);
        (&stream).write_all(&bytes).unwrap();
        sleep(Duration::from_millis(200));
    }
    (&stream)
        .write_all(&frame::encode(&wire::Ask { id: 99, asked: Command::Quit.into() }, frame::TO_LAB).unwrap())
        .unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // Of those that are as long as another one of them is enough.
    let (mut lengths, mut has_run) = (BTreeSet::new(), false);
    let mut head = [0; HEAD];
    while reader.read_exact(&mut head).is_ok() && lengths.len() < MESSAGES {
        let [a, b, c, d, ..] = head;
        let mut body = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
        reader.read_exact(&mut body).unwrap();
        if body.len() < 10_000 && lengths.insert(body.len() / 16) {
            put("told", &format!("told-{:02}", lengths.len()), &body);
            has_run |= body.windows(3).any(|bytes| bytes == b"cpu");
        }
    }
    assert!(has_run, "the first message is short enough");
    child.kill().unwrap();
    child.wait().unwrap();
}
