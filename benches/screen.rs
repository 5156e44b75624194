//! What the dashboard costs a slow line, and how soon a key is answered, while the tutorial's network trains at full speed:
//! `cargo bench --bench screen`. A terminal of 120×40 with half-blocks, as over SSH.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that can't go on stops, and tells what it found"
)]

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};
use vt100::Parser;

/// How long bytes are counted.
const COUNTED: Duration = Duration::from_secs(20);
/// How many keys are timed.
const KEYS: usize = 400;

/// The program in a terminal: what it writes comes through the channel as it comes.
struct Screen {
    child: Box<dyn Child + Send + Sync>,
    input: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    parser: Parser,
    _master: Box<dyn portable_pty::MasterPty + Send>,
}

impl Screen {
    fn start(folder: &std::path::Path, arguments: &[&str]) -> Self {
        let pty =
            native_pty_system().openpty(PtySize { rows: 40, cols: 120, pixel_width: 0, pixel_height: 0 }).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_mnist-lab"));
        command.args(arguments);
        command.cwd(folder);
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        command.env("XDG_CONFIG_HOME", folder);
        command.env_remove("MNIST_LAB_DATA");
        let child = pty.slave.spawn_command(command).unwrap();
        let mut reader = pty.master.try_clone_reader().unwrap();
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let input = pty.master.take_writer().unwrap();
        Self { child, input, output, parser: Parser::new(40, 120, 0), _master: pty.master }
    }

    fn key(&mut self, key: &str) {
        self.input.write_all(key.as_bytes()).and_then(|()| self.input.flush()).unwrap();
    }

    /// Reads until the screen is as `shown` wants it, and says how long that took.
    fn wait(&mut self, shown: impl Fn(&str) -> bool) -> Duration {
        let begun = Instant::now();
        while !shown(&self.parser.screen().contents()) {
            let bytes = self.output.recv_timeout(Duration::from_mins(1)).expect("the screen comes");
            self.parser.process(&bytes);
        }
        begun.elapsed()
    }

    /// Bytes that come within `time`.
    fn count(&mut self, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut count = 0;
        while let Ok(bytes) = self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
            count += bytes.len();
            self.parser.process(&bytes);
        }
        count
    }

    /// How long after a key its effect is on the screen, in order.
    fn delays(&mut self) -> Vec<Duration> {
        let mut delays = Vec::with_capacity(KEYS);
        for number in 0..KEYS / 2 {
            // Not in step with the frames.
            self.count(Duration::from_millis(20 + number as u64 * 37 % 90));
            self.key("?");
            delays.push(self.wait(|screen| screen.contains("Esc closes")));
            self.count(Duration::from_millis(20 + number as u64 * 53 % 90));
            self.key("\x1b");
            delays.push(self.wait(|screen| !screen.contains("Esc closes")));
        }
        delays.sort();
        delays
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kilobytes a second.
fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e3 / time.as_secs_f64()
}

fn measure(screen: &mut Screen, what: &str) {
    let training = rate(screen.count(COUNTED), COUNTED);
    let delays = screen.delays();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what}: {training:.1} kB/s while it trains; a key is answered in {:.1} ms (median), {:.1} ms (p99), {:.1} ms (longest)",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let common = ["--sessions", "sessions", "--epochs", "1000", "--graphics", "halfblocks"];
    let mut lab = Screen::start(folder.path(), &[&["lab"], &common[..]].concat());
    lab.wait(|screen| screen.contains("ready"));
    lab.count(Duration::from_secs(2));
    let idle = lab.count(Duration::from_secs(5));
    println!("at rest: {idle} bytes in 5 s");
    lab.key(" ");
    lab.wait(|screen| screen.contains("val "));
    lab.key("e");
    lab.wait(|screen| screen.contains("wrong 1/"));
    measure(&mut lab, "lab");
    drop(lab);

    let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_mnist-lab"))
        .args(["train", "--sessions", "sessions", "--epochs", "1000", "--no-save", "--listen", "lab.sock", "--quiet"])
        .current_dir(folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .env_remove("MNIST_LAB_DATA")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !folder.path().join("lab.sock").exists() && run.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(20));
    }
    let mut attached = Screen::start(folder.path(), &["attach", "lab.sock", "--graphics", "halfblocks"]);
    attached.wait(|screen| screen.contains("val "));
    attached.key("e");
    attached.wait(|screen| screen.contains("wrong 1/"));
    measure(&mut attached, "attach");
    drop(attached);
    let _ = run.kill();
    let _ = run.wait();
}
