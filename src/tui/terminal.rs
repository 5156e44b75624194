//! The terminal: taken over on entry and given back on every way out.

mod writer;

use std::cell::RefCell;
use std::io::{self, Write};
use std::panic;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste};
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect, Size};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, kill_current_process_group};
use tokio::signal::unix::SignalKind;

use self::writer::Writer;
use super::message::Message;
use super::model::Model;
use super::view::view;
use crate::error::Error;
use crate::signals::{self, listen};

/// Presses, the wheel, and moves while a button is held, with coordinates beyond 223; not every move of the mouse, which would
/// fill a slow line. The first is for terminals that know no more.
const MOUSE: &str = "\x1b[?1000h\x1b[?1002h\x1b[?1006h";
/// How long a terminal that is given back has to take what is still to be written to it: one that needs longer is not read.
const FAREWELL: Duration = Duration::from_secs(5);

type Hook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Send + Sync>;

/// The terminal in raw mode on its alternate screen.
pub struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<Sheet>>,
    sheet: Sheet,
    writer: Writer,
    taken: Arc<AtomicBool>,
    elsewhere: Arc<Mutex<Option<String>>>,
    earlier_hook: Arc<Hook>,
}

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// If it is none, or does not let itself be taken.
    pub fn enter() -> io::Result<Self> {
        let sheet = Sheet::default();
        let inner = ratatui::Terminal::new(CrosstermBackend::new(sheet.clone()))?;
        let writer = Writer::begin()?;
        let taken = Arc::new(AtomicBool::new(false));
        let elsewhere = Arc::new(Mutex::new(None));
        let earlier_hook = Arc::new(panic::take_hook());
        panic::set_hook(hook(writer.clone(), taken.clone(), elsewhere.clone(), earlier_hook.clone()));
        let mut terminal = Self { inner, sheet, writer, taken, elsewhere, earlier_hook };
        terminal.take()?;
        Ok(terminal)
    }

    fn take(&mut self) -> io::Result<()> {
        self.taken.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        let mut words: Vec<u8> = Vec::new();
        queue!(words, EnterAlternateScreen, EnableBracketedPaste, Print(MOUSE))?;
        self.writer.write(&words, Instant::now())?;
        self.forget();
        Ok(())
    }

    /// Gives the terminal back. A terminal that is gone is not asked for more.
    pub fn leave(&mut self) {
        if self.taken.swap(false, Ordering::SeqCst) {
            give_back(&self.writer);
        }
    }

    /// Gives the terminal to the shell until `fg`.
    ///
    /// # Errors
    /// If it can't be taken back.
    pub fn suspend(&mut self) -> io::Result<()> {
        self.leave();
        // The whole group, as the terminal itself would: a `cargo run` around us must stop too, or the shell never returns.
        kill_current_process_group(Signal::TSTP)?;
        self.take()
    }

    /// Takes the terminal over again after somebody else may have changed its modes.
    ///
    /// # Errors
    /// If it is gone.
    pub fn retake(&mut self) -> io::Result<()> {
        // Nobody has it in between, so nothing waits until it is given back.
        if self.taken.swap(false, Ordering::SeqCst) {
            let _ = self.writer.write(&farewell(), Instant::now());
            let _ = disable_raw_mode();
        }
        self.take()
    }

    /// What a thread other than the screen's panicked with.
    pub fn panic_elsewhere(&self) -> Option<String> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes what is not part of the screen. A terminal that is gone is not told.
    pub fn write(&mut self, text: &str) {
        let _ = self.writer.write(text.as_bytes(), Instant::now());
    }

    /// Draws every cell anew the next time.
    pub fn forget(&mut self) {
        // `clear` would ask the terminal where its cursor is, and wait two seconds for one that does not answer. Should the
        // terminal be gone, the next frame finds out.
        let _ = size().and_then(|size| self.inner.resize(Rect::from((Position::ORIGIN, size))));
    }

    /// Draws the cells that changed, in one go where the terminal can, and has that written.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn draw(&mut self, model: &Model) -> io::Result<()> {
        let begun = Instant::now();
        queue!(self.inner.backend_mut(), BeginSynchronizedUpdate)?;
        self.draw_changes(model)?;
        if model.graphics.leaves_remains() {
            self.forget();
            self.draw_changes(model)?;
        }
        queue!(self.inner.backend_mut(), EndSynchronizedUpdate)?;
        self.writer.write(&self.sheet.take(), begun)
    }

    /// Waits until all that was drawn is written, or nothing can be any more: when that was, and how long it took.
    pub async fn idle(&self) -> (Instant, Duration) {
        self.writer.idle().await
    }

    fn draw_changes(&mut self, model: &Model) -> io::Result<()> {
        self.inner.draw(|frame| {
            let area = frame.area();
            if let Some(position) = view(model, area, frame.buffer_mut()) {
                frame.set_cursor_position(position);
            }
        })?;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave();
        if !std::thread::panicking() {
            let earlier = self.earlier_hook.clone();
            panic::set_hook(Box::new(move |info| earlier(info)));
        }
    }
}

/// What a frame is gathered on until it is whole: shared with the backend, which does not give back what it writes to.
#[derive(Clone, Debug, Default)]
struct Sheet(Rc<RefCell<Vec<u8>>>);

impl Sheet {
    /// What is on it, which is then empty.
    fn take(&self) -> Vec<u8> {
        self.0.take()
    }
}

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The terminal's size now.
///
/// # Errors
/// If it does not say.
pub fn size() -> io::Result<Size> {
    let (width, height) = crossterm::terminal::size()?;
    Ok(Size { width, height })
}

/// Whether nobody is at the other end any more.
pub fn is_gone() -> bool {
    let out = io::stdout();
    let mut polled = [PollFd::new(&out, PollFlags::empty())];
    let asked = poll(&mut polled, Some(&Timespec::default()));
    asked.is_ok() && polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}

fn give_back(writer: &Writer) {
    let _ = writer.write(&farewell(), Instant::now());
    writer.settle(FAREWELL);
    let _ = disable_raw_mode();
}

/// What tells a terminal to be as it was.
fn farewell() -> Vec<u8> {
    // Each on its own: one that fails must not keep the others.
    let mut words = Vec::new();
    let _ = queue!(words, EndSynchronizedUpdate, DisableMouseCapture, DisableBracketedPaste);
    let _ = queue!(words, LeaveAlternateScreen, Show);
    words
}

/// A panic of the screen's own thread gives the terminal back first; one of another thread must not write over the screen
/// and is kept until it closes.
fn hook(writer: Writer, taken: Arc<AtomicBool>, elsewhere: Arc<Mutex<Option<String>>>, earlier: Arc<Hook>) -> Hook {
    let own = std::thread::current().id();
    Box::new(move |info| {
        if std::thread::current().id() == own {
            if taken.swap(false, Ordering::SeqCst) {
                give_back(&writer);
            }
            earlier(info);
        } else if taken.load(Ordering::SeqCst) {
            let thread = std::thread::current();
            let sentence = format!("the thread `{}` failed: {info}", thread.name().unwrap_or("without name"));
            let sentence = sentence.lines().collect::<Vec<_>>().join(" ");
            elsewhere.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(sentence);
        } else {
            earlier(info);
        }
    })
}

/// The signals that concern the screen.
pub struct Signals {
    end: signals::Signals,
    go_on: tokio::signal::unix::Signal,
    resized: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            end: signals::Signals::new()?,
            go_on: listen(SignalKind::from_raw(Signal::CONT.as_raw()))?,
            resized: listen(SignalKind::window_change())?,
        })
    }

    /// Waits for the next one; `None` if the terminal is gone.
    pub async fn next(&mut self) -> Option<Message> {
        tokio::select! {
            _ = self.end.next() => Some(Message::Terminate),
            _ = self.go_on.recv() => Some(Message::Continued),
            // A terminal that does not say how large it is now is gone.
            _ = self.resized.recv() => size().ok().map(Message::Resize),
        }
    }
}
