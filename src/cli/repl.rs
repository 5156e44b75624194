//! `repl`: the lab's command line without the dashboard, typed or from a script.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc;

use super::args::{ReplArgs, RunArgs};
use super::follow::{Follower, Waited, failed_run};
use super::options::Options;
use super::output::Output;
use super::serve::porter;
use super::tune::told::failed_search;
use crate::command::Command;
use crate::error::Error;
use crate::lab::{Autosave, Lab, Start};
use crate::reply::Reply;
use crate::session::Store;
use crate::state::{LabState, Phase};
use crate::train::event::Reason;

/// What makes a terminal stop putting text that is pasted into brackets.
const UNBRACKETED: &str = "\x1b[?2004l";

/// Runs the commands until they end, `quit` is one, one of a script fails, or a signal comes.
///
/// # Errors
/// If the session or script can't be read, a command of the script fails, or the run can't be saved at the end.
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
    let mut follower = Follower::new(lab.with_porter(porter()), *output).await?;
    let mut lines = match script {
        Some(text) => Lines::from_text(&text),
        None if typed => Lines::typed(options.store.clone()),
        None => Lines::from_input(),
    };
    // A person can mend what went wrong; whoever has asked twice to leave does not wait.
    let stays = |error: &Error| typed && !matches!(error, Error::Interrupted);
    let outcome = loop {
        let line = tokio::select! {
            line = lines.next() => line,
            _ = follower.signal() => {
                lines.leave();
                break follower.interrupt().await.map(|()| ExitCode::from(130));
            }
        };
        let line = match line {
            Some(Ok(line)) => line,
            Some(Err(error)) => break Err(error),
            None => break Ok(ExitCode::SUCCESS),
        };
        match obey(&line, &mut follower, *output).await {
            Ok(Obeyed::Next) => {}
            Ok(Obeyed::Unread) => break Ok(ExitCode::SUCCESS),
            Ok(Obeyed::Interrupted(signal)) if typed && signal == SignalKind::interrupt() => {}
            Ok(Obeyed::Interrupted(_)) => break Ok(ExitCode::from(130)),
            Ok(Obeyed::Quit(Err(error))) | Err(error) if stays(&error) => output.error(&error.to_string()),
            Ok(Obeyed::Quit(left)) => {
                left?;
                let _ = thread.join();
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => break Err(error),
        }
    };
    follower.leave(thread, outcome).await
}

/// What became of a line.
enum Obeyed {
    /// It was done: the next can be read.
    Next,
    /// This signal came; the run was stopped and saved.
    Interrupted(SignalKind),
    /// Nobody reads any more what is done.
    Unread,
    /// It was `quit`: the lab has ended, or it can't, and the error says why.
    Quit(Result<(), Error>),
}

/// Does what a line says and waits until it is done.
async fn obey(line: &str, follower: &mut Follower, output: Output) -> Result<Obeyed, Error> {
    let Some(command) = Command::parse(line)? else { return Ok(Obeyed::Next) };
    if command == Command::Quit {
        let left = follower.quit().await;
        if let Ok(reply) = &left {
            output.offer_reply(reply);
        }
        return Ok(Obeyed::Quit(left.map(drop)));
    }
    let searches = matches!(command, Command::Tune { what: None, .. });
    follower.catch_up();
    let reply = match follower.ask(command).await {
        Ok(reply) => reply?,
        Err(signal) => return follower.interrupt().await.map(|()| Obeyed::Interrupted(signal)),
    };
    if !output.offer_reply(&reply) {
        return Ok(Obeyed::Unread);
    }
    if matches!(reply, Reply::Rewound { .. } | Reply::Branches(_)) {
        follower.skip_epochs();
    }
    match follower.rest().await? {
        Waited::Interrupted(signal) => return Ok(Obeyed::Interrupted(signal)),
        Waited::Unread => return Ok(Obeyed::Unread),
        Waited::Rested(_) => {}
    }
    let state = follower.state();
    let failure = match reply {
        Reply::Started(_) => {
            tell_early_stop(&state, output);
            failed_run(&state)
        }
        _ if searches => failed_search(&state),
        _ => None,
    };
    failure.map_or(Ok(Obeyed::Next), |failure| Err(Error::Lab(failure)))
}

/// Says why a run has ended before its epochs are done.
fn tell_early_stop(state: &LabState, output: Output) {
    if let Phase::Finished(reason @ Reason::EarlyStop { .. }) = &state.phase {
        output.note(&reason.sentence(&state.settings));
    }
}

/// Lines from a thread that may block on its input. The next one is read when the last is obeyed.
struct Lines {
    given: mpsc::Receiver<Result<String, Error>>,
    /// A word for each line that may be read.
    turns: std::sync::mpsc::Sender<()>,
    /// How the terminal is set when no line is typed on it.
    terminal: Option<Termios>,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<String, Error>> {
        self.turns.send(()).ok()?;
        self.given.recv().await
    }

    /// Leaves a line that is being typed: its thread goes on to wait for its end, and the terminal is given back meanwhile.
    fn leave(&self) {
        if let Some(terminal) = &self.terminal {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, terminal);
            let _ = writeln!(io::stdout(), "{UNBRACKETED}");
        }
    }

    fn start(read: impl FnOnce(&mut dyn FnMut(Result<String, Error>) -> bool) + Send + 'static) -> Self {
        let (sender, given) = mpsc::channel(1);
        let (turns, turn) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if turn.recv().is_ok() {
                read(&mut |line| sender.blocking_send(line).is_ok() && turn.recv().is_ok());
            }
        });
        Self { given, turns, terminal: None }
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
        let terminal = tcgetattr(io::stdin()).ok();
        let lines = Self::start(move |give| {
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
        });
        Self { terminal, ..lines }
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
    type Hint = DocLine;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<DocLine> {
        Some(DocLine(format!("   {}", Command::doc(line)?)))
    }
}

/// A doc line. It is to be read and does not become a part of what is typed.
struct DocLine(String);

impl Hint for DocLine {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}
