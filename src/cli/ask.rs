//! `eval`, `predict` and `export`: one question to a saved network.

use super::args::{EvalArgs, ExportVerb, PredictArgs};
use super::follow::Follower;
use super::options::Options;
use super::output::Output;
use crate::command::Command;
use crate::error::Error;
use crate::lab::{Autosave, Lab, Start};
use crate::reply::Reply;

/// Measures a split, of each session by itself or of all as one.
///
/// # Errors
/// If a session or the data can't be read.
pub async fn evaluate(args: EvalArgs, options: &Options, output: &Output) -> Result<(), Error> {
    let EvalArgs { mut names, split, corrupt, ensemble, mut together } = args;
    if ensemble {
        together.with.extend(names.drain(1..));
    }
    let several = names.len() > 1;
    for session in names {
        let command = Command::Eval { split, corrupt, together: together.clone() };
        let reply = answer(&session, command, options, *output).await?;
        if several { output.reply_of(&session, &reply) } else { output.reply(&reply) }
    }
    Ok(())
}

/// Predicts digits.
///
/// # Errors
/// If the session, the data or an image can't be read.
pub async fn predict(args: PredictArgs, options: &Options, output: &Output) -> Result<(), Error> {
    output.reply(&answer(&args.session, Command::Predict { inputs: args.inputs }, options, *output).await?);
    Ok(())
}

/// Writes a file for other programs.
///
/// # Errors
/// If the session or the data can't be read, or the file can't be written.
pub async fn export(args: ExportVerb, options: &Options, output: &Output) -> Result<(), Error> {
    args.export.format()?;
    output.reply(&answer(&args.session, Command::Export(args.export), options, *output).await?);
    Ok(())
}

/// What the lab answers that opens `session`; it is closed then.
async fn answer(session: &str, command: Command, options: &Options, output: Output) -> Result<Reply, Error> {
    let (lab, _thread) = Lab::start(options.lab(Start::Session(session.to_owned()), Autosave::Off))?;
    let mut follower = Follower::new(lab, output).await?;
    // There is nothing to save: a signal ends the program at once.
    let reply = follower.ask(command).await.map_err(|_| Error::Interrupted)?;
    let _ = follower.quit().await;
    reply
}
