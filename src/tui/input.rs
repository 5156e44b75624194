//! What a person types and does with the mouse.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::thread;

use crossterm::event::{Event, read};
use tokio::sync::mpsc;

use super::message::Message;
use super::terminal;

/// Events that may wait for the screen; the others wait in the terminal.
const WAITING: usize = 1024;

/// What comes from the terminal, in the order in which it came.
pub struct Input(mpsc::Receiver<Event>);

impl Input {
    /// Begins to read. The thread that does ends with the terminal or the process: crossterm can't be called away from its reading.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn begin() -> io::Result<Self> {
        let (sender, events) = mpsc::channel(WAITING);
        let reader = move || while read().is_ok_and(|event| sender.blocking_send(event).is_ok()) {};
        thread::Builder::new().name("input".into()).spawn(reader)?;
        Ok(Self(events))
    }

    /// Waits for the next message; `None` if the terminal is gone. That is looked at each time: crossterm does not tell, and
    /// reads on and on.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let event =
                poll_fn(|context| if terminal::is_gone() { Poll::Ready(None) } else { self.0.poll_recv(context) });
            if let Some(message) = message_of(event.await?) {
                return Some(message);
            }
        }
    }
}

fn message_of(event: Event) -> Option<Message> {
    match event {
        Event::Key(key) => Some(Message::Key(key)),
        Event::Mouse(mouse) => Some(Message::Mouse(mouse)),
        Event::Paste(text) => Some(Message::Paste(text)),
        // The signal tells of sizes.
        Event::Resize(..) | Event::FocusGained | Event::FocusLost => None,
    }
}
