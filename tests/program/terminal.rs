//! A terminal with the program in it: keys go in, a screen comes out, as on a person's desk.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};
use vt100::{MouseProtocolMode, Parser};

use crate::home::Home;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a run on the real digits may take.
const GREAT_PATIENCE: Duration = Duration::from_mins(20);
const POLL: Duration = Duration::from_millis(5);

pub const ENTER: &str = "\r";
pub const ESCAPE: &str = "\x1b";
pub const TAB: &str = "\t";
pub const CTRL_C: &str = "\x03";
pub const CTRL_Z: &str = "\x1a";

/// What the footer says while a command can be typed.
const TYPING: &str = "Enter run";

/// What to start in a terminal, and in what kind of one.
pub struct Launch {
    command: CommandBuilder,
    columns: u16,
    rows: u16,
}

impl Launch {
    /// The program with these arguments.
    pub fn program(home: &Home, arguments: &[&str]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_mnist-lab"));
        command.args(arguments);
        Self::new(home, command)
    }

    /// A shell with job control, whose prompt is `shell>`.
    pub fn shell(home: &Home) -> Self {
        let mut command = CommandBuilder::new("/bin/sh");
        command.arg("-i");
        Self::new(home, command).with("PS1", "shell>")
    }

    fn new(home: &Home, mut command: CommandBuilder) -> Self {
        command.env_clear();
        command.cwd(home.path());
        let mut launch = Self { command, columns: 120, rows: 40 };
        for (name, value) in home.environment() {
            launch = launch.with(name, &value);
        }
        launch
    }

    /// With this variable in the environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Without this variable.
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// In a terminal of this size.
    pub fn size(mut self, columns: u16, rows: u16) -> Self {
        (self.columns, self.rows) = (columns, rows);
        self
    }

    pub fn start(self) -> Terminal {
        let size = PtySize { rows: self.rows, cols: self.columns, pixel_width: 0, pixel_height: 0 };
        let pty = native_pty_system().openpty(size).unwrap();
        let started = Instant::now();
        let child = pty.slave.spawn_command(self.command).unwrap();
        let screen = Arc::new(Mutex::new(Parser::new(self.rows, self.columns, 0)));
        let hung_up = Arc::new(AtomicBool::new(false));
        let mut output = pty.master.try_clone_reader().unwrap();
        let written = Arc::new(AtomicUsize::new(0));
        let (parser, ended, count) = (screen.clone(), hung_up.clone(), written.clone());
        thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                count.fetch_add(length, Ordering::SeqCst);
                parser.lock().unwrap().process(&bytes[..length]);
                if ended.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        let input = pty.master.take_writer().unwrap();
        Terminal {
            child,
            master: Some(pty.master),
            input: Some(input),
            _slave: pty.slave,
            screen,
            hung_up,
            written,
            started,
            patience: PATIENCE,
        }
    }
}

/// A terminal and what runs in it; that is ended with it.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    input: Option<Box<dyn Write + Send>>,
    /// Held so that the terminal's settings outlive the program and can be looked at.
    _slave: Box<dyn SlavePty + Send>,
    screen: Arc<Mutex<Parser>>,
    hung_up: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    pub started: Instant,
    patience: Duration,
}

impl Terminal {
    /// Types these keys.
    pub fn keys(&mut self, keys: &str) {
        self.bytes(keys.as_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("the line is up");
        input.write_all(bytes).and_then(|()| input.flush()).unwrap();
    }

    /// Types a command into the dashboard's command line.
    #[track_caller]
    pub fn command(&mut self, line: &str) {
        if !self.text().contains(TYPING) {
            self.keys(":");
            self.wait_for(TYPING);
        }
        self.keys(line);
        self.keys(ENTER);
    }

    /// Leaves the command line; a key that came in one breath with Escape would mean something else.
    #[track_caller]
    pub fn leave_command_line(&mut self) {
        self.keys(ESCAPE);
        self.wait_until("the panes' keys in the footer", |screen| !screen.contains(TYPING));
    }

    /// The screen as lines of text.
    pub fn text(&self) -> String {
        let parser = self.screen.lock().unwrap();
        parser.screen().contents()
    }

    /// Looks at the screen with its colours and modes.
    pub fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.screen.lock().unwrap().screen())
    }

    /// The same terminal, but with much more time for what is waited for from now on.
    pub fn patiently(&mut self) -> &mut Self {
        self.patience = GREAT_PATIENCE;
        self
    }

    /// Waits until `text` is on the screen.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(&format!("`{text}` on the screen"), |screen| screen.contains(text));
    }

    /// Waits until the screen's text is as `shown` wants it.
    #[track_caller]
    pub fn wait_until(&self, what: &str, shown: impl Fn(&str) -> bool) {
        let came = within(self.patience, || shown(&self.text()));
        assert!(came, "waited in vain for {what}; the screen:\n{}", self.text());
    }

    /// How many bytes the program has written so far.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }

    /// Changes the terminal's size, as a person drags its window.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut parser = self.screen.lock().unwrap();
        parser.screen_mut().set_size(rows, columns);
        self.tell_size(columns, rows);
    }

    /// Tells the program of another size and leaves the screen as it is.
    pub fn tell_size(&self, columns: u16, rows: u16) {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.master.as_ref().expect("the line is up").resize(size).unwrap();
    }

    /// Sends a signal by its name, as `kill` does.
    pub fn signal(&self, name: &str) {
        kill(&[name], &self.process().to_string());
    }

    /// Sends SIGTERM and SIGHUP together, as the end of a login does.
    pub fn end_login(&self) {
        kill(&["TERM", "HUP"], &self.process().to_string());
    }

    fn process(&self) -> u32 {
        self.child.process_id().expect("it was started")
    }

    /// Whether the program has ended, which needs nobody who reads its screen.
    pub fn has_ended(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.process())).is_ok_and(|stat| stat.contains(") Z "))
    }

    /// The same to what a shell has in the foreground.
    pub fn signal_foreground(&self, name: &str) {
        let group = self.master.as_ref().and_then(|master| master.process_group_leader());
        kill(&[name], &format!("-{}", group.expect("the line is up")));
    }

    /// Drops the line, as a lost SSH connection does: the kernel sends SIGHUP once nobody holds the other end.
    pub fn hang_up(&mut self) {
        self.hung_up.store(true, Ordering::SeqCst);
        self.input = None;
        self.master = None;
    }

    /// Waits for the program's end and gives its exit code; a signal must not have killed it.
    #[track_caller]
    pub fn exit_code(&mut self) -> u32 {
        let mut status = None;
        let ended = eventually(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "the program did not end; the screen:\n{}", self.text());
        let status = status.unwrap();
        assert_eq!(status.signal(), None, "it was killed; the screen:\n{}", self.text());
        status.exit_code()
    }

    /// Checks that the terminal is as it was before the program came.
    #[track_caller]
    pub fn check_restored(&self) {
        let is_restored = || self.disorder().is_none();
        assert!(eventually(is_restored), "{}; the screen:\n{}", self.disorder().unwrap_or_default(), self.text());
    }

    /// What a program left in disorder.
    fn disorder(&self) -> Option<&'static str> {
        let settings = self.master.as_ref().and_then(|master| master.get_termios()).expect("a terminal has settings");
        let local = settings.local_flags.bits();
        let flags = [libc::ICANON, libc::ECHO, libc::ISIG];
        self.look(|screen| match () {
            () if screen.alternate_screen() => Some("the alternate screen is still shown"),
            () if screen.hide_cursor() => Some("the cursor is still hidden"),
            () if screen.mouse_protocol_mode() != MouseProtocolMode::None => Some("the mouse is still caught"),
            () if screen.bracketed_paste() => Some("pasted text is still bracketed"),
            () if flags.iter().any(|flag| local & flag == 0) => Some("raw mode is still on"),
            () => None,
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends signals by their names to a process, or with `-` before its number to its group.
#[track_caller]
pub fn kill(signals: &[&str], process: &str) {
    let lines: Vec<String> = signals.iter().map(|signal| format!("kill -{signal} {process}")).collect();
    // The shell's own: the program `kill` is not on every machine.
    let sent = Command::new("/bin/sh").args(["-c", &lines.join(" && ")]).status().unwrap();
    assert!(sent.success(), "{lines:?}");
}

/// Whether something becomes true before patience ends.
pub fn eventually(is_true: impl FnMut() -> bool) -> bool {
    within(PATIENCE, is_true)
}

fn within(patience: Duration, mut is_true: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < patience {
        if is_true() {
            return true;
        }
        thread::sleep(POLL);
    }
    is_true()
}
