//! Ends a lab that SIGTERM can't end in the usual way: whoever follows it waits for a terminal or a pipe that is open, but that nobody
//! reads.

use std::process;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::cli::output::Output;
use crate::command::Command;
use crate::error::Error;
use crate::lab::Lab;
use crate::signals::listen;

/// How long whoever follows the lab has to end it, which takes a moment unless nobody reads.
const PATIENCE: Duration = Duration::from_secs(5);

/// Stands as long as it is kept.
#[derive(Debug)]
pub struct Guard {
    _kept: oneshot::Sender<()>,
}

impl Guard {
    /// Saves and closes the lab and ends the program some time after SIGTERM.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn over(lab: Lab, output: Output) -> Result<Self, Error> {
        let refused = |error| Error::Failed(format!("can't start the thread that waits for SIGTERM: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let (kept, dropped) = oneshot::channel::<()>();
        let watch = async move {
            let Ok(mut terminate) = listen(SignalKind::terminate()) else { return };
            let told = async {
                terminate.recv().await;
                sleep(PATIENCE).await;
            };
            tokio::select! {
                _ = dropped => {}
                () = told => end(&lab, output).await,
            }
        };
        thread::Builder::new().name("guard".into()).spawn(move || runtime.block_on(watch)).map_err(refused)?;
        Ok(Self { _kept: kept })
    }
}

async fn end(lab: &Lab, output: Output) {
    let code = match lab.send(Command::Quit).await {
        Ok(Err(unsaved)) => {
            output.error(&unsaved.to_string());
            unsaved.exit_code()
        }
        // Closed now, or before: then its last words are what nobody reads.
        Ok(Ok(_)) | Err(_) => Error::Interrupted.exit_code(),
    };
    process::exit(code.into());
}
