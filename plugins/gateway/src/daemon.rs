//! Connections to the daemon, which may end and come again while the gateway goes on.

use std::sync::{Mutex, PoisonError};

use imgd_client::{Client, ConnectOptions, Error, Result};

/// The name by which the daemon knows the gateway.
const CLIENT_NAME: &str = "gateway";

/// How the daemon is reached.
#[derive(Debug)]
pub(crate) struct Daemon {
    options: ConnectOptions,
    shared: Mutex<Option<Client>>,
}

impl Daemon {
    pub(crate) fn new(options: ConnectOptions) -> Self {
        Self {
            options: ConnectOptions {
                client_name: Some(CLIENT_NAME.into()),
                ..options
            },
            shared: Mutex::new(None),
        }
    }

    /// A connection for short calls, which share it. Costs a short call itself, which shows that the daemon is there.
    pub(crate) async fn shared(&self) -> Result<Client> {
        let known = self
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(client) = known
            && client.status().await.is_ok()
        {
            return Ok(client);
        }
        let client = self.own().await?;
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    /// A connection of its own for long streams. Starts the daemon where nobody listens, as `imgctl` does.
    pub(crate) async fn own(&self) -> Result<Client> {
        match self.running().await {
            Err(Error::NotRunning { .. }) if self.options.autostart => {
                Client::connect(self.options.clone()).await
            }
            outcome => outcome,
        }
    }

    /// A connection of its own to a daemon that runs already.
    pub(crate) async fn running(&self) -> Result<Client> {
        let options = ConnectOptions {
            autostart: false,
            ..self.options.clone()
        };
        Client::connect(options).await
    }
}
