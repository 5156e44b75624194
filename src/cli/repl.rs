//! `repl`: the lab's command line without the dashboard, typed or from a script.

use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use tokio::sync::mpsc;

use super::args::{ReplArgs, RunArgs};
use super::follow::{Follower, Waited};
use super::options::Options;
use super::output::Output;
use super::serve::porter;
use crate::command::Command;
use crate::error::Error;
use crate::lab::{Autosave, Lab, Start};
use crate::session::Store;

/// Runs the commands until they end, `quit` is one, or one of a script fails.
///
/// # Errors
/// If the session or script can't be read, or a command of the script fails.
pub async fn run(args: ReplArgs, options: &Options, output: &Output) -> Result<ExitCode, Error> {
    let start = match args.session {
        Some(session) => Start::Session(session),
        None => options.fresh(&RunArgs::default())?,
    };
    let typed = args.script.is_none() && io::stdin().is_terminal();
    let script = match &args.script {
        Some(path) => Some(
            fs::read_to_string(path)
                .map_err(|error| Error::Usage(format!("can't read the script {}: {error}", path.display())))?,
        ),
        None => None,
    };
    let (lab, thread) = Lab::start(options.lab(start, Autosave::On))?;
    let lab = lab.with_porter(porter());
    let mut follower = Follower::new(lab.clone(), *output).await?;
    let mut lines = match script {
        Some(text) => Lines::from_text(&text),
        None if typed => Lines::typed(options.store.clone()),
        None => Lines::from_input(),
    };
    let mut result = Ok(ExitCode::SUCCESS);
    while let Some(line) = lines.next().await {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                result = Err(error);
                break;
            }
        };
        match obey(&line, &lab, &mut follower, *output).await {
            Ok(Obeyed::Next) => {}
            Ok(Obeyed::Closed) => break,
            Ok(Obeyed::Interrupted) if typed => {}
            Ok(Obeyed::Interrupted) => {
                result = Ok(ExitCode::from(130));
                break;
            }
            Err(error) if typed => output.error(&error.to_string()),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    // After `quit` the lab is gone already, and has saved.
    let _ = lab.ask(Command::Quit).await;
    let _ = thread.join();
    result
}

enum Obeyed {
    Next,
    Interrupted,
    /// Nothing more is to be done, or nobody reads any more what is.
    Closed,
}

/// Does what a line says and waits until it is done.
async fn obey(line: &str, lab: &Lab, follower: &mut Follower, output: Output) -> Result<Obeyed, Error> {
    let Some(command) = Command::parse(line)? else { return Ok(Obeyed::Next) };
    let closes = command == Command::Quit;
    follower.catch_up();
    let reply = lab.ask(command).await?;
    let read = output.offer_reply(&reply);
    if closes || !read {
        return Ok(Obeyed::Closed);
    }
    Ok(match follower.rest().await? {
        Waited::Interrupted => Obeyed::Interrupted,
        Waited::Unread => Obeyed::Closed,
        Waited::Rested(_) => Obeyed::Next,
    })
}

/// Lines from a thread that may block on its input. The next one is read when the last is obeyed.
struct Lines {
    lines: mpsc::Receiver<Result<String, Error>>,
    /// A word for each line that may be read.
    turns: std::sync::mpsc::Sender<()>,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<String, Error>> {
        self.turns.send(()).ok()?;
        self.lines.recv().await
    }

    fn start(read: impl FnOnce(&mut dyn FnMut(Result<String, Error>) -> bool) + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel(1);
        let (turns, turn) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if turn.recv().is_ok() {
                read(&mut |line| sender.blocking_send(line).is_ok() && turn.recv().is_ok());
            }
        });
        Self { lines, turns }
    }

    fn from_text(text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        Self::start(move |give| {
            for line in lines {
                if !give(Ok(line)) {
                    return;
                }
            }
        })
    }

    fn from_input() -> Self {
        Self::start(|give| {
            for line in io::stdin().lock().lines() {
                let line = line.map_err(|error| Error::Usage(format!("can't read standard input: {error}")));
                let failed = line.is_err();
                if !give(line) || failed {
                    return;
                }
            }
        })
    }

    fn typed(store: Store) -> Self {
        Self::start(move |give| {
            let mut editor = match Editor::<Prompt, DefaultHistory>::new() {
                Ok(editor) => editor,
                Err(error) => {
                    give(Err(Error::Failed(format!("can't edit lines on this terminal: {error}"))));
                    return;
                }
            };
            editor.set_helper(Some(Prompt { store }));
            loop {
                match editor.readline("> ") {
                    Ok(line) => {
                        let _ = editor.add_history_entry(line.as_str());
                        if !give(Ok(line)) {
                            return;
                        }
                    }
                    Err(ReadlineError::Interrupted) => {}
                    Err(_) => return,
                }
            }
        })
    }
}

/// Completion and the doc line of what is typed.
struct Prompt {
    store: Store,
}

impl Helper for Prompt {}
impl Highlighter for Prompt {}
impl Validator for Prompt {}

impl Completer for Prompt {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let sessions: Vec<String> = self.store.list().unwrap_or_default().into_iter().map(|entry| entry.name).collect();
        let pair = |line: String| Pair { display: line.clone(), replacement: line };
        Ok((0, Command::completions(&line[..at], &sessions).into_iter().map(pair).collect()))
    }
}

impl Hinter for Prompt {
    type Hint = String;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        Some(format!("   {}", Command::doc(line)?))
    }
}
