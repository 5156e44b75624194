//! A session whose file changes is loaded anew: the server answers with the newest weights.

use std::time::Duration;

use super::App;
use crate::command::Command;
use crate::session::{Entry, Store};

/// Between two looks at the file. A look works on any file system, also one over a network, where notices of changes do not.
const INTERVAL: Duration = Duration::from_millis(500);

/// A session's file and how it was when it was loaded.
#[derive(Clone, Debug)]
pub struct Watched {
    store: Store,
    name: String,
    seen: Option<Entry>,
}

impl Watched {
    /// The session `name`, which is to be loaded after this.
    pub fn new(store: Store, name: String) -> Self {
        let seen = store.entry(&name).ok();
        Self { store, name, seen }
    }

    /// Loads it anew as often as it changes. A file that is damaged or gone leaves the network as it is.
    pub(super) async fn follow(mut self, app: App) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let (store, name) = (self.store.clone(), self.name.clone());
            let Ok(Ok(now)) = tokio::task::spawn_blocking(move || store.entry(&name)).await else { continue };
            if self.seen.as_ref() == Some(&now) {
                continue;
            }
            self.seen = Some(now);
            match app.0.lab.ask(Command::Load { name: self.name.clone() }).await {
                Ok(reply) => {
                    tracing::info!("the session's file changed: {reply}");
                    app.0.metrics.reloaded("loaded");
                }
                Err(error) => {
                    tracing::warn!("the session's file changed, but the network stays as it is: {error}");
                    app.0.metrics.reloaded("refused");
                }
            }
        }
    }
}
