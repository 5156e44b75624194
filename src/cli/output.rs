//! Where answers go: data to standard output as text or JSON, notes and errors to standard error.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::reply::Reply;

/// How answers are written.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    /// As JSON or text; quiet leaves the notes out.
    pub const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether data is written as JSON.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Whether progress bars belong on standard error.
    pub fn shows_progress(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Writes data in the form that was asked for: `object`, or else `text`.
    pub fn data(self, object: &Value, text: &str) {
        or_end(self.offer(object, text));
    }

    /// The same where there is more to lose than words; whether anybody reads them.
    pub fn offer(self, object: &Value, text: &str) -> bool {
        write(&if self.json { object.to_string() } else { text.to_owned() })
    }

    /// Writes an answer of the lab.
    pub fn reply(self, reply: &Reply) {
        or_end(self.offer_reply(reply));
    }

    /// The same where there is more to lose than words; whether anybody reads them.
    pub fn offer_reply(self, reply: &Reply) -> bool {
        if self.json {
            reply.to_json().iter().all(|object| write(&object.to_string()))
        } else {
            write(&reply.to_string())
        }
    }

    /// The same of one session among several, which it names.
    pub fn reply_of(self, session: &str, reply: &Reply) {
        if !self.json {
            return line(&format!("{session}: {reply}"));
        }
        for mut object in reply.to_json() {
            object["session"] = session.into();
            line(&object.to_string());
        }
    }

    /// Writes a note for people.
    pub fn note(self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Writes an error's sentence.
    pub fn error(self, sentence: &str) {
        let _ = writeln!(io::stderr(), "mnist-lab: {sentence}");
    }

    /// Standard output for what is neither text nor JSON.
    pub fn writer(self) -> impl Write {
        io::stdout().lock()
    }
}

fn line(text: &str) {
    or_end(write(text));
}

/// Ends the program if whoever read is gone, as with `| head`: there is nobody left to write for.
fn or_end(read: bool) {
    if !read {
        std::process::exit(0);
    }
}

/// Writes a line; whether there is anybody who reads.
fn write(line: &str) -> bool {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    !written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
