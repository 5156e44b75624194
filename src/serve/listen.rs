//! Connections: how many, how slow, and how they end.

use std::net::TcpListener as StdListener;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::routes::routes;
use super::{App, Watched};
use crate::state::Phase;

/// For a whole request, from its head to the answer.
pub const REQUEST: Duration = Duration::from_secs(15);
/// For the head of a request; and how long a connection may rest between two of them.
const HEAD: Duration = Duration::from_secs(15);
/// For a client to take some more of an answer.
const TAKING: Duration = Duration::from_secs(15);
/// For the requests that are under way when the server is to end.
const GRACE: Duration = Duration::from_secs(5);
/// After a connection could not be accepted, as a rule for want of file descriptors.
const BREATH: Duration = Duration::from_millis(50);
/// Connections at most; each costs some 10 KiB while it rests.
const MOST_CONNECTIONS: usize = 16_384;
/// File descriptors that the program needs beside its connections.
const OTHER_FILES: u64 = 128;

/// Serves until it is told to stop or the lab closes. With the listener goes a sender, by which others know that it is gone.
pub async fn run(
    app: App,
    (listener, listens): (StdListener, mpsc::Sender<()>),
    watched: Option<Watched>,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("can't listen: {error}"),
    };
    let reloading = watched.map(|watched| tokio::spawn(watched.follow(app.clone())));
    let slots = Arc::new(Semaphore::new(most_connections()));
    let graceful = GracefulShutdown::new();
    let routes = routes(&app);
    let closed = closed(app.clone());
    tokio::pin!(closed);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match slots.clone().try_acquire_owned() {
                    Ok(slot) => serve(stream, slot, &app, &routes, &graceful),
                    Err(_) => drop(tokio::spawn(refuse(stream))),
                },
                Err(error) => {
                    tracing::warn!("can't accept a connection: {error}");
                    sleep(BREATH).await;
                }
            },
            _ = stopped.wait_for(|stopped| *stopped) => break,
            () = &mut closed => break,
        }
    }
    drop(listener);
    drop(listens);
    if let Some(reloading) = reloading {
        reloading.abort();
    }
    // What is still under way after this is broken off.
    let _ = timeout(GRACE, graceful.shutdown()).await;
}

fn serve(stream: TcpStream, slot: OwnedSemaphorePermit, app: &App, routes: &Router, graceful: &GracefulShutdown) {
    // An answer is one packet: waiting for more would only delay it.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(TAKING));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(routes.clone()));
    let connection = graceful.watch(connection);
    let open = app.0.metrics.connections.clone();
    open.inc();
    tokio::spawn(async move {
        // How a client breaks off is its own affair.
        let _ = connection.await;
        open.dec();
        drop(slot);
    });
}

/// Tells a client that there is no room for it.
async fn refuse(mut stream: TcpStream) {
    let body = r#"{"error":"too many connections are open: try again in a moment"}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = timeout(Duration::from_secs(1), stream.write_all(answer.as_bytes())).await;
}

/// The end of the lab.
async fn closed(app: App) {
    let mut state = app.0.state.clone();
    // An error means that the lab is gone.
    let _ = state.wait_for(|state| state.phase == Phase::Closed).await;
}

/// As many connections as the system has file descriptors for, after asking it for as many as it gives.
fn most_connections() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    let files = if setrlimit(Resource::Nofile, limit).is_ok() { limit.maximum } else { soft };
    let files = files.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES).max(16);
    usize::try_from(files).unwrap_or(usize::MAX).min(MOST_CONNECTIONS)
}
