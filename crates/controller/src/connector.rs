//! How a connection to a node is made. A trait, so that whoever owns the TLS material can bring it.

use crate::settings::{Login, SslMode};
use pgherd_topology::node::Address;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, NoTls};

/// Whom to connect to, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// How to log in.
    pub login: Login,
    /// Limit for each statement, told to the server as `statement_timeout`, so that no probe outlives its asker there.
    pub statement_timeout: Duration,
}

/// A connection and the future that moves its bytes; that future ends when the connection does.
pub struct Connected {
    /// Where queries go.
    pub client: Client,
    /// To be spawned.
    pub driver: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
}

/// The task that moves a kept connection's bytes; it ends with this value, and is done when the connection ends.
pub(crate) struct Mover(pub(crate) JoinHandle<()>);

impl Drop for Mover {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection attempt. Dropping it closes what there is of it.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send>>;

/// Makes connections. The caller sets the deadline: a peer may accept and then stay silent for ever.
pub trait Connector: Send + Sync {
    /// Starts one attempt.
    fn connect(&self, target: &Target) -> Connecting;
}

/// Connects without TLS; modes that insist on TLS fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Connector for Plain {
    fn connect(&self, target: &Target) -> Connecting {
        let config = target.config();
        Box::pin(async move {
            let (client, connection) = config.connect(NoTls).await?;
            Ok(Connected { client, driver: Box::pin(connection) })
        })
    }
}

impl Target {
    /// The same in tokio-postgres's terms. `options` fixes what the probe relies on against settings of the role.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        match &self.address {
            Address::Tcp(host, port) => config.host(&**host).port(*port),
            Address::Unix(directory, port) => config.host_path(&**directory).port(*port),
        };
        config
            .user(&*self.login.user)
            .dbname(&*self.login.database)
            .application_name("pgherd")
            .ssl_mode(match self.login.ssl {
                SslMode::Disable => tokio_postgres::config::SslMode::Disable,
                SslMode::Allow | SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
                SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                    tokio_postgres::config::SslMode::Require
                }
            })
            .options(format!(
                "-c search_path=pg_catalog -c statement_timeout={} -c idle_in_transaction_session_timeout=0",
                self.statement_timeout.as_millis().clamp(1, i32::MAX as u128)
            ));
        if let Some(password) = &self.login.password {
            config.password(&**password);
        }
        config
    }
}
