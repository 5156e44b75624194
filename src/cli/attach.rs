//! `attach`: the dashboard on a run that another process trains.

use serde_json::json;

use super::args::AttachArgs;
use super::lab::{Screen, check_terminal};
use super::options::Options;
use super::output::Output;
use crate::attach::{self, Attached, Line, Outcome};
use crate::data::Dataset;
use crate::error::Error;
use crate::session::Store;
use crate::state::Phase;
use crate::tui::{self, Seat};

/// Shows the run until it is left or has ended.
///
/// # Errors
/// Without a terminal, if no run can be attached to, and if the line to it breaks.
pub async fn run(args: AttachArgs, options: &Options, output: &Output) -> Result<(), Error> {
    check_terminal()?;
    let screen = Screen::of(&args.screen, options)?;
    let socket = args.socket.unwrap_or_else(attach::default_socket);
    let line = Line::connect(&socket, screen.fps)?;
    let store = Store::new(line.welcome().sessions.clone());
    let dataset = Dataset::open(line.welcome().data.as_deref())?;
    let Attached { lab, ended } = line.open(dataset)?;
    // The line is up as long as there is a handle.
    let kept = lab.clone();
    let shown = tui::run(lab, screen.shown(store, Seat::Guest)).await;
    let closed = kept.state().borrow().phase == Phase::Closed;
    // Of a run that has closed the last word is waited for.
    let kept = Some(kept).filter(|_| closed);
    let outcome = ended.outcome();
    drop(kept);
    let place = socket.display();
    match (shown, outcome) {
        (_, Outcome::Farewell(sentence)) => output.data(&json!({"event": "ended", "text": sentence}), &sentence),
        (Ok(()), Outcome::Detached) => {
            let text = format!("detached, it trains on: `mnist-lab attach {place}` comes back");
            output.data(&json!({"event": "detached", "socket": place.to_string()}), &text);
        }
        (Ok(()) | Err(Error::Failed(_)), Outcome::Lost(reason)) => {
            return Err(Error::Failed(format!(
                "{reason}; if the run at {place} was killed, `mnist-lab train --resume` goes on from what it saved last"
            )));
        }
        (Err(error), _) => return Err(error),
    }
    Ok(())
}
