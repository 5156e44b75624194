//! `serve` from outside: what it answers, what it refuses, and what it endures.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use image::{DynamicImage, GrayImage, ImageFormat, Luma};
use mnist_lab::data::{Dataset, SIDE};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::digits;
use crate::home::Home;
use crate::shell::{self, command};
use crate::terminal::eventually;

/// An architecture that takes a moment.
const SMALL: &str = "conv4:5x5:s2 relu flatten dense10";
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server, killed when the test is over.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    fn good(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }
}

fn program(home: &Home, arguments: &[&str]) -> Command {
    let mut command = command(home, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Trains the session `a` for so many epochs, or further.
fn train(home: &Home, epochs: &str) {
    let begun = home.store().load("a").is_ok();
    let fresh = ["train", "--arch", SMALL, "--lr", "0.01", "--save", "a", "--epochs", epochs];
    let resumed = ["train", "--resume", "a", "--epochs", epochs];
    let output = program(home, if begun { &resumed } else { &fresh }).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn serve(home: &Home, arguments: &[&str]) -> Served {
    let all = [&["serve", "a", "--addr", "127.0.0.1:0", "--json"], arguments].concat();
    let mut child = program(home, &all).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(listening["event"], "listening");
    let address = listening["addr"].as_str().unwrap().parse().unwrap();
    Served { child, address }
}

fn start() -> (Home, Served) {
    let home = Home::new();
    train(&home, "1");
    let served = serve(&home, &[]);
    (home, served)
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request on a connection of its own.
    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that refuses may close before it has read everything.
        let _ = stream.write_all(&request(method, path, headers, body));
        answer(&mut stream)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    fn post(&self, path: &str, kind: &str, body: &[u8]) -> Answer {
        self.ask("POST", path, &[&format!("content-type: {kind}")], body)
    }

    fn post_form(&self, path: &str, files: &[&[u8]]) -> Answer {
        self.post(path, "multipart/form-data; boundary=xyz", &form("image", files))
    }

    /// Resident memory in MiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    }

    fn signal(&self, name: &str) {
        shell::signal(&self.child, name);
    }
}

fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let headers = headers.iter().flat_map(|&header| [header, "\r\n"]).collect::<String>();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn form(field: &str, files: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for file in files {
        let head = format!("--xyz\r\ncontent-disposition: form-data; name=\"{field}\"; filename=\"a.png\"\r\n\r\n");
        body.extend([head.as_bytes(), file, b"\r\n"].concat());
    }
    body.extend(b"--xyz--\r\n");
    body
}

/// The next answer on `stream`.
#[track_caller]
fn answer(stream: &mut TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the connection is closed after: {head:?}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Answer { status, head, body }
}

fn png(image: &GrayImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(image.clone()).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn digit(index: usize) -> GrayImage {
    let data = Dataset::open(Some(digits::folder())).unwrap();
    GrayImage::from_raw(SIDE as u32, SIDE as u32, data.test.image(index).to_vec()).unwrap()
}

/// What the shell's `predict` says of an image file.
fn predicted(home: &Home, image: &GrayImage) -> Value {
    std::fs::write(home.path().join("image.png"), png(image)).unwrap();
    let output = program(home, &["predict", "a", "image.png", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The numbers themselves, which have more than one way to be written.
fn probabilities(answer: &Value) -> Vec<f32> {
    answer["probabilities"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

#[test]
fn every_way_to_send_a_digit_gets_the_same_answer_as_in_the_shell() {
    let (home, served) = start();
    let image = digit(3);
    let expected = predicted(&home, &image);
    let pixels = json!({ "pixels": image.as_raw() }).to_string();
    let mut jpeg = Cursor::new(Vec::new());
    DynamicImage::from(image.clone()).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    for answer in [
        served.post_form("/predict", &[&png(&image)]),
        served.post("/predict", "image/png", &png(&image)),
        served.post("/predict", "application/octet-stream", &png(&image)),
        served.post("/predict", "application/json", pixels.as_bytes()),
    ] {
        let answer = answer.good();
        assert_eq!((&answer["digit"], probabilities(&answer)), (&expected["digit"], probabilities(&expected)));
        assert_eq!(answer["confidence"], answer["probabilities"][answer["digit"].as_u64().unwrap() as usize]);
        assert_eq!((answer["preprocess"].as_str(), answer.get("image")), (Some("auto"), None));
    }
    assert!(served.post("/predict", "image/jpeg", jpeg.get_ref()).good()["digit"].is_u64());
    let detailed = served.post("/predict?detail=true&preprocess=raw", "image/png", &png(&image)).good();
    assert_eq!((&detailed["image"], detailed["preprocess"].as_str()), (&json!(image.as_raw()), Some("raw")));

    assert_eq!(detailed.get("saliency"), None);
    let explained = served.post("/predict?saliency=true", "image/png", &png(&image)).good();
    let saliency: Vec<f64> = explained["saliency"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let is_blank = |pixel: usize| image.as_raw()[pixel] == 0;
    assert!((0..saliency.len()).all(|pixel| !is_blank(pixel) || saliency[pixel] == 0.0), "only ink speaks");
    assert!(saliency.len() == SIDE * SIDE && saliency.iter().any(|&value| value > 0.0));

    let files: Vec<Vec<u8>> = (0..5).map(|index| png(&digit(index))).collect();
    let batch = served.post_form("/predict/batch", &files.iter().map(Vec::as_slice).collect::<Vec<_>>()).good();
    let images: Vec<_> = (0..5).map(|index| digit(index).into_raw()).collect();
    let same = served.post("/predict/batch", "application/json", json!({ "images": images }).to_string().as_bytes());
    assert_eq!(batch, same.good());
    assert_eq!(probabilities(&batch["predictions"][3]), probabilities(&expected));
    assert_eq!(batch["predictions"].as_array().unwrap().len(), 5);
}

#[test]
fn several_digits_are_read_from_left_to_right() {
    let (home, served) = start();
    let mut picture = GrayImage::from_pixel(400, 120, Luma([255]));
    let mut expected = String::new();
    for place in 0..4_usize {
        let mut digit = digit(place);
        expected += &predicted(&home, &digit)["digit"].to_string();
        image::imageops::invert(&mut digit);
        let large = image::imageops::resize(&digit, 84, 84, image::imageops::FilterType::Triangle);
        image::imageops::replace(&mut picture, &large, 8 + 98 * place as i64, 5 + 8 * place as i64);
    }
    let reading = served.post_form("/read?detail=true", &[&png(&picture)]).good();
    let read = reading["digits"].as_array().unwrap();
    assert_eq!(read.len(), 4, "{}", reading["text"]);
    for (place, digit) in read.iter().enumerate() {
        let x = digit["place"][0].as_u64().unwrap() as usize;
        assert!((8 + 98 * place..8 + 98 * place + 84).contains(&x), "{x}");
        assert_eq!(digit["image"].as_array().unwrap().len(), SIDE * SIDE);
    }
    let alike = reading["text"].as_str().unwrap().chars().zip(expected.chars()).filter(|(a, b)| a == b).count();
    assert!(alike >= 3, "{} against {expected}", reading["text"]);
    let crowd = GrayImage::from_fn(400, 400, |x, y| Luma([if x % 8 < 3 && y % 8 < 3 { 0 } else { 255 }]));
    assert_eq!(served.post("/read", "image/png", &png(&crowd)).status, 422);
}

#[test]
fn what_is_wrong_is_refused_with_its_status_and_a_sentence() {
    let (_home, served) = start();
    let image = png(&digit(0));
    let blank = png(&GrayImage::new(50, 50));
    let bomb = png(&GrayImage::new(5000, 4000));
    let two = form("image", &[&image, &image]);
    let crowd = form("image", &vec![&image[..]; 257]);
    let some = form("image", &vec![&image[..]; 33]);
    let huge = vec![0; (4 << 20) + 1];
    let multipart = "multipart/form-data; boundary=xyz";
    for (status, path, kind, body, words) in [
        (400, "/predict?preprocess=magic", "image/png", &image[..], "auto"),
        (400, "/predict", multipart, &form("picture", &[&image]), "image"),
        (400, "/predict", multipart, &two, "/predict/batch"),
        (400, "/predict", "multipart/form-data", &image, "boundary"),
        (400, "/predict", "image/png", b"", "empty"),
        (400, "/predict", "application/json", b"{\"pixels\": [", "784"),
        (413, "/predict", "image/png", &huge, "4 MiB"),
        (413, "/predict", multipart, &form("image", &[&huge]), "4 MiB"),
        (413, "/predict", "image/png", &bomb, "16 megapixels"),
        (413, "/predict/batch", multipart, &crowd, "256"),
        (413, "/predict/batch?saliency=true", multipart, &some, "32"),
        (415, "/predict", "text/plain", b"7", "multipart"),
        (415, "/predict", "image/png", b"no picture", "PNG"),
        (422, "/predict", "image/png", &image[..image.len() / 2], "damaged"),
        (422, "/predict", "image/png", &blank, "blank"),
        (422, "/predict", "application/json", b"{\"pixels\": [1, 2, 3]}", "784"),
        (422, "/predict", "application/json", b"{\"pixels\": [0.5]}", "0 to 255"),
        (422, "/predict/batch", "application/json", b"{\"images\": [[300]]}", "300"),
        (404, "/../sessions/a.mlab", "image/png", &image, "openapi"),
        (404, "/%2e%2e/%2e%2e/etc/passwd", "image/png", &image, "openapi"),
        (405, "/model", "image/png", &image, "GET"),
    ] {
        let answer = served.post(path, kind, body);
        assert_eq!(answer.status, status, "{path} {kind}: {}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(words), "{path} {kind}: {error}");
    }
    assert_eq!(served.ask("GET", "/predict", &[], b"").status, 405);
    assert_eq!(served.post_form("/predict", &[&image]).status, 200, "it goes on");
}

#[test]
fn it_describes_itself() {
    let (_home, served) = start();
    let model = served.get("/model").good();
    assert_eq!((&model["session"], &model["arch"], &model["epoch"]), (&json!("a"), &json!(SMALL), &json!(1)));
    assert_eq!(served.get("/healthz").text(), "ok\n");
    let description = served.get("/openapi.json").good();
    for path in ["/predict", "/predict/batch", "/read", "/model", "/metrics", "/healthz"] {
        assert!(description["paths"][path].is_object(), "{path}");
    }
    for _ in 0..3 {
        served.post_form("/predict", &[&png(&digit(0))]).good();
    }
    served.get("/no/such/path");
    let metrics = served.get("/metrics").text();
    for line in [
        "mnist_lab_http_requests_total{route=\"/predict\",status=\"200\"} 3",
        "mnist_lab_http_requests_total{route=\"other\",status=\"404\"} 1",
        "mnist_lab_http_request_seconds_count{route=\"/predict\"} 3",
        "mnist_lab_http_connections ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let page = served.get("/");
    assert!(page.text().contains("<canvas") && page.head.contains("default-src 'none'"), "{}", page.head);
    // The name of SVG is an address that nobody asks.
    let text = page.text().replace("http://www.w3.org/2000/svg", "");
    assert!(!text.contains("//"), "nothing comes from elsewhere: {text}");
    assert_eq!((served.get("/page.js").status, served.get("/page.css").status), (200, 200));
}

#[test]
fn a_token_lets_in_those_who_know_it() {
    let home = Home::new();
    train(&home, "1");
    let served = serve(&home, &["--token", "s3cret"]);
    let image = png(&digit(0));
    let ask = |authorization: &str| {
        served.ask("POST", "/predict", &["content-type: image/png", authorization], &image).status
    };
    assert_eq!(ask("x: y"), 401);
    assert_eq!(ask("authorization: Bearer wrong"), 401);
    assert_eq!(ask("authorization: s3cret"), 401);
    assert_eq!(ask("authorization: Bearer s3cret"), 200);
    for (path, status) in [("/", 200), ("/page.js", 200), ("/healthz", 200), ("/model", 401), ("/metrics", 401)] {
        assert_eq!(served.get(path).status, status, "{path}");
    }
}

#[test]
fn the_session_is_loaded_anew_when_its_file_changes() {
    let (home, served) = start();
    let file = home.store().folder().join("a.mlab");
    let epoch = || served.get("/model").good()["epoch"].as_u64();
    assert_eq!(epoch(), Some(1));
    let old = std::fs::read(&file).unwrap();
    train(&home, "3");
    assert!(eventually(|| epoch() == Some(3)));
    assert_eq!(served.post_form("/predict", &[&png(&digit(0))]).good()["epoch"], 3);
    std::fs::write(&file, &old[..old.len() / 2]).unwrap();
    let refused = "mnist_lab_session_reloads_total{result=\"refused\"} 1";
    assert!(eventually(|| served.get("/metrics").text().contains(refused)));
    assert_eq!(served.post_form("/predict", &[&png(&digit(0))]).good()["epoch"], 3, "the network stays");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, &old).unwrap();
    assert!(eventually(|| epoch() == Some(1)));
}

#[test]
fn many_clients_at_once_each_get_their_own_answer() {
    let (_home, served) = start();
    let images: Vec<Vec<u8>> = (0..16).map(|index| png(&digit(index))).collect();
    let expected: Vec<Value> = images.iter().map(|image| served.post("/predict", "image/png", image).good()).collect();
    thread::scope(|scope| {
        for (image, expected) in images.iter().zip(&expected) {
            let served = &served;
            scope.spawn(move || {
                let mut stream = served.connect();
                for _ in 0..50 {
                    stream.write_all(&request("POST", "/predict", &["content-type: image/png"], image)).unwrap();
                    let answer = answer(&mut stream).good();
                    assert_eq!(answer["digit"], expected["digit"]);
                    // A batch of several images goes through other kernels than a single one may.
                    for (a, b) in probabilities(&answer).iter().zip(probabilities(expected)) {
                        assert!((a - b).abs() < 1e-5, "{a} and {b}");
                    }
                }
            });
        }
    });
}

#[test]
fn idle_and_slow_clients_cost_little_and_disturb_nobody() {
    let (_home, served) = start();
    let image = png(&digit(0));
    served.post("/predict", "image/png", &image).good();
    let before = served.memory();
    let idle: Vec<TcpStream> = (0..idle_clients()).map(|_| served.connect()).collect();
    let mut slow_head = served.connect();
    slow_head.write_all(b"POST /predict HTTP/1.1\r\nhost: ").unwrap();
    let mut slow_body = served.connect();
    slow_body.write_all(&request("POST", "/predict", &["content-type: image/png"], &image)[..150]).unwrap();
    let began = Instant::now();
    for _ in 0..20 {
        served.post("/predict", "image/png", &image).good();
    }
    let grown = served.memory().saturating_sub(before);
    assert!(grown < 300, "{} idle clients took {grown} MiB", idle.len());
    assert_eq!(answer(&mut slow_body).status, 408, "{:?}", began.elapsed());
    let mut rest = Vec::new();
    slow_head.read_to_end(&mut rest).unwrap();
    for mut stream in idle.into_iter().take(50) {
        assert_eq!(stream.read(&mut [0; 100]).unwrap(), 0, "it is closed in the end");
    }
    served.post("/predict", "image/png", &image).good();
}

/// Ten thousand, or as many as this process may have files.
fn idle_clients() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.maximum.map_or(10_000, |most| most.saturating_sub(500).min(10_000)) as usize
}

#[test]
fn a_client_that_never_reads_is_left() {
    let (_home, served) = start();
    let mut deaf = served.connect();
    // Ten megabytes of answers: more than the system takes in between.
    let many = request("GET", "/page.js", &[], b"").repeat(1000);
    deaf.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let _ = deaf.write_all(&many);
    let connections = |count: usize| served.get("/metrics").text().contains(&format!("connections {count}\n"));
    assert!(connections(2), "it and the one that asks");
    assert!(eventually(|| connections(1)));
}

#[test]
fn a_crowd_of_large_images_is_decoded_by_turns() {
    let (_home, served) = start();
    let large =
        png(&GrayImage::from_fn(4000, 4000, |x, y| Luma([if x.abs_diff(2000) < 200 && y < 3900 { 255 } else { 0 }])));
    let before = served.memory();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| served.post("/predict", "image/png", &large))).collect();
        while !asked.iter().all(thread::ScopedJoinHandle::is_finished) {
            let grown = served.memory().saturating_sub(before);
            assert!(grown < 700, "{grown} MiB");
            thread::sleep(Duration::from_millis(5));
        }
        for answer in asked {
            answer.join().unwrap().good();
        }
    });
}

#[test]
fn a_signal_ends_it_after_what_was_begun() {
    for signal in ["INT", "TERM", "HUP"] {
        let (_home, mut served) = start();
        let whole = request("POST", "/predict", &["content-type: image/png"], &png(&digit(0)));
        let mut stream = served.connect();
        stream.write_all(&whole[..whole.len() - 5]).unwrap();
        // The server has begun with a request when it has read some of it.
        thread::sleep(Duration::from_millis(300));
        served.signal(signal);
        assert!(eventually(|| TcpStream::connect(served.address).is_err()), "{signal}: no more connections");
        stream.write_all(&whole[whole.len() - 5..]).unwrap();
        assert_eq!(answer(&mut stream).status, 200, "{signal}");
        drop(stream);
        assert!(eventually(|| served.child.try_wait().unwrap().is_some()), "{signal}");
        assert_eq!(served.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_lab_answers_while_it_trains() {
    let home = Home::new();
    let mut command = program(&home, &["repl", "--json"]);
    let mut child = command.env("MNIST_LAB_TOKEN", "s3cret").stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    input.write_all(format!("new '{SMALL}'\nset batch-size 1\nserve 0\ntrain 100\n").as_bytes()).unwrap();
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it goes on");
        if let Some((_, rest)) = line.split_once("http://") {
            break rest.split('"').next().unwrap().parse().unwrap();
        }
    };
    let served = Served { child, address };
    let token = "authorization: Bearer s3cret";
    let image = png(&digit(0));
    let ask =
        |headers: &[&str]| served.ask("POST", "/predict", &[&["content-type: image/png"], headers].concat(), &image);
    assert_eq!(ask(&[]).status, 401, "the token in the environment holds here too");
    let step = || ask(&[token]).good()["step"].as_u64().unwrap();
    assert!(eventually(|| step() > 0), "it trains");
    let early = step();
    assert!(eventually(|| step() > early + 100), "later answers come from a network that has learned more");
    assert_eq!(served.ask("GET", "/model", &[token], b"").good()["training"], true);
    served.signal("INT");
    drop(input);
    assert!(eventually(|| TcpStream::connect(served.address).is_err()), "it closes with the lab");
}

#[test]
fn what_can_not_be_served_is_said_in_a_sentence() {
    let (home, served) = start();
    let taken = served.address.to_string();
    for (code, arguments, words) in [
        (3, &["serve", "missing"][..], "sessions list"),
        (1, &["serve", "a", "--addr", &taken], &taken),
        (2, &["serve", "a", "--addr", "everywhere"], "127.0.0.1:8080"),
        (2, &["serve", "a", "--token", ""], "token"),
        (2, &["serve"], "SESSION"),
    ] {
        let output = program(&home, arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(words) && !error.contains("panicked"), "{arguments:?}: {error}");
    }
    // In the lab too, which has no flags.
    let ran = shell::end(shell::start(&home, &["repl"], &format!("serve {}\n", served.address.port())));
    assert!(ran.code == 1 && ran.err.contains(&taken) && !ran.err.contains("--"), "{}: {}", ran.code, ran.err);
}

/// `serve off` does not wait for a client in the middle of its request, who is answered all the same.
#[test]
fn a_lab_closes_its_door_at_once_and_answers_what_was_begun() {
    let home = Home::new();
    let mut child = program(&home, &["repl", "--json"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    input.write_all(b"serve 0\n").unwrap();
    let address = next().split_once("http://").unwrap().1.split('"').next().unwrap().parse().unwrap();
    let served = Served { child, address };
    let whole = request("POST", "/predict", &["content-type: image/png"], &png(&digit(0)));
    let mut stream = served.connect();
    stream.write_all(&whole[..whole.len() - 5]).unwrap();
    // The server has begun with a request when it has read some of it.
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    input.write_all(format!("serve off\nserve {}\n", address.port()).as_bytes()).unwrap();
    assert!(next().contains(&format!("no longer serving on http://{address}")));
    assert!(next().contains(&format!("serving on http://{address}")), "the address is free again");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(served.get("/healthz").status, 200);
    stream.write_all(&whole[whole.len() - 5..]).unwrap();
    assert_eq!(answer(&mut stream).status, 200);
}
