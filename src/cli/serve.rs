//! `serve`: the digit API on a saved session; and the door that the lab's own command `serve` opens.

use std::env;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::args::{ServeArgs, TOKEN};
use super::follow::Follower;
use super::options::Options;
use super::output::Output;
use crate::command::Door;
use crate::error::Error;
use crate::lab::{Autosave, Lab, Porter, Start};
use crate::reply::Reply;
use crate::serve::{ServeOptions, Server, Watched};

/// Answers requests until a signal comes.
///
/// # Errors
/// If the session or the data can't be read, or the address can't be listened on.
pub async fn run(args: ServeArgs, options: &Options, output: &Output) -> Result<(), Error> {
    let watched = Watched::new(options.store.clone(), args.session.clone());
    let (lab, _thread) = Lab::start(options.lab(Start::Session(args.session), Autosave::Off))?;
    let mut follower = Follower::new(lab.clone(), *output).await?;
    let warning = warning(args.addr, args.token.as_deref());
    let server = Server::start(lab, ServeOptions { address: args.addr, token: args.token, watched: Some(watched) })?;
    let address = server.address();
    output.data(&json!({"event": "listening", "addr": address.to_string()}), &format!("listening on http://{address}"));
    if let Some(warning) = warning {
        output.note(warning);
    }
    follower.signal().await;
    output.note("answering what was asked; once more to leave at once");
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    tokio::select! {
        _ = stopping => {}
        _ = follower.signal() => return Err(Error::Interrupted),
    }
    follower.quit().await.map(drop)
}

/// Opens a server on the lab that it belongs to, and closes it. A token in the environment holds for it too.
pub fn porter() -> Porter {
    let token = env::var(TOKEN).ok().filter(|token| !token.is_empty());
    let server: Mutex<Option<Server>> = Mutex::default();
    Porter::new(move |lab, door| {
        let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
        let running = server.take().filter(|server| !server.has_ended());
        match (door, running) {
            (Door::Closed, Some(running)) => {
                let address = running.address();
                running.close();
                Ok(Reply::Done(format!("no longer serving on http://{address}")))
            }
            (Door::Closed, None) => Err(Error::Usage("nothing is served: `serve` begins".into())),
            (Door::Open(_), Some(running)) => {
                let address = running.address();
                *server = Some(running);
                Err(Error::Usage(format!("http://{address} is open already: `serve off` closes it")))
            }
            (Door::Open(address), None) => {
                let begun = Server::start(lab.clone(), ServeOptions { address, token: token.clone(), watched: None })?;
                let address = begun.address();
                *server = Some(begun);
                let warning = warning(address, token.as_deref()).map_or_else(String::new, |text| format!("; {text}"));
                Ok(Reply::Done(format!("serving on http://{address}{warning}")))
            }
        }
    })
}

/// What to know of an address that others reach, if anything.
fn warning(address: SocketAddr, token: Option<&str>) -> Option<&'static str> {
    (!address.ip().is_loopback() && token.is_none()).then_some(
        "everyone who reaches this address can ask the network: a token in MNIST_LAB_TOKEN lets in only those who know it",
    )
}
