//! The cluster as a whole: built, checked, taken down.
use crate::account::Account;
use crate::binaries::Binaries;
use crate::directory::{self, Directory};
use crate::error::LabError;
use crate::node::{Mode, Node};
use crate::nursery::{Nursery, TICK};
use crate::options::{Auth, Database, Options, Role};
use crate::port;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The role standbys stream as.
const REPLICATOR: &str = "lab_replicator";
/// How often a start is repeated because somebody took a chosen port first.
const PORT_ATTEMPTS: u32 = 5;
/// How long a server may take to end itself before it is killed, at the end of a lab.
const LAST_GRACE: Duration = Duration::from_secs(3);

/// A running primary with its streaming standbys. Dropping it ends every server and removes the directory.
#[derive(Debug)]
pub struct Lab {
    // Declared first, so that no server runs when the directory is removed.
    nodes: Vec<Node>,
    options: Options,
    replicator_password: String,
    directory: Directory,
    binaries: Arc<Binaries>,
    nursery: Arc<Nursery>,
}

impl Lab {
    /// Builds and starts a cluster; returns when every standby streams and a row was seen to arrive on each.
    ///
    /// Not cancel safe to resume: a dropped start takes down what it had built.
    ///
    /// # Errors
    /// What [`LabError`] lists; nothing is left behind then.
    pub async fn start(options: Options) -> Result<Self, LabError> {
        let binaries = Arc::new(Binaries::find(options.bin_dir.as_deref(), options.major)?);
        let account = Account::choose()?;
        let parent = options.parent.clone().unwrap_or_else(std::env::temp_dir);
        let directory = Directory::create(&parent, &options.prefix, &account, options.keep)?;
        directory.subdirectory("sockets", &account)?;
        let nursery = Arc::new(Nursery::new(account, directory.path())?);
        let replicator_password = secret();
        let nodes = Vec::new();
        let mut lab = Self { nodes, options, replicator_password, directory, binaries, nursery };
        lab.lay_out().await?;
        lab.start_primary().await?;
        lab.populate().await?;
        for node in &lab.nodes[1..] {
            node.start().await?;
        }
        lab.wait_replicated().await?;
        Ok(lab)
    }

    /// The node the lab was started with as primary. A promotion elsewhere does not change this.
    #[must_use]
    pub fn primary(&self) -> &Node {
        &self.nodes[0]
    }

    /// The nodes the lab was started with as standbys.
    #[must_use]
    pub fn replicas(&self) -> &[Node] {
        &self.nodes[1..]
    }

    /// All nodes, the first primary first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The directory everything lives in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The installation in use.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// What starts processes as the servers' account, bound to this lab's life; pgbench and psql are run by it too.
    #[must_use]
    pub fn nursery(&self) -> &Arc<Nursery> {
        &self.nursery
    }

    /// Creates a role on the first primary.
    ///
    /// # Errors
    /// [`LabError::Program`] with the server's message.
    pub async fn create_role(&self, role: &Role) -> Result<(), LabError> {
        let password =
            role.password.as_deref().map_or(String::new(), |p| format!(" PASSWORD {}", literal(p)));
        let text = format!("CREATE ROLE {} LOGIN {}{password}", identifier(&role.name), role.attributes);
        self.primary().sql("postgres", &text).await.map(drop)
    }

    /// Creates a database on the first primary.
    ///
    /// # Errors
    /// [`LabError::Program`] with the server's message.
    pub async fn create_database(&self, database: &Database) -> Result<(), LabError> {
        let text =
            format!("CREATE DATABASE {} OWNER {}", identifier(&database.name), identifier(&database.owner));
        self.primary().sql("postgres", &text).await.map(drop)
    }

    /// Waits until every running standby streams from the first primary and shows a row written just now.
    ///
    /// # Errors
    /// [`LabError::TimedOut`] naming the standby that lacks the row.
    pub async fn wait_replicated(&self) -> Result<(), LabError> {
        let mark = secret();
        let write = format!(
            "CREATE TABLE IF NOT EXISTS lab_mark (mark text); TRUNCATE lab_mark; INSERT INTO lab_mark VALUES ('{mark}')"
        );
        self.primary().sql("postgres", &write).await?;
        let begin = Instant::now();
        for node in self.replicas().iter().filter(|n| n.pid().is_some()) {
            let streaming = format!(
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name = '{}'",
                node.name()
            );
            loop {
                // The table itself may not have arrived yet: an error is as good as a missing row.
                let seen = node.sql("postgres", "SELECT mark FROM lab_mark").await;
                let arrived = seen.as_ref().is_ok_and(|text| *text == mark);
                if arrived && self.primary().sql("postgres", &streaming).await? == "1" {
                    break;
                }
                if begin.elapsed() > self.options.patience {
                    let detail = format!("; last seen: {seen:?}\n{}", node.log_tail());
                    let what = format!("replication to {}", node.name());
                    return Err(LabError::TimedOut { what, after: self.options.patience, detail });
                }
                tokio::time::sleep(TICK).await;
            }
        }
        Ok(())
    }

    /// Stops every server in order (standbys last, so that they get all WAL) and removes the directory unless it is kept.
    ///
    /// # Errors
    /// [`LabError::TimedOut`] when a server had to be killed; everything is gone all the same.
    pub async fn shutdown(self) -> Result<(), LabError> {
        // Only a kept directory is worth an orderly end: it may be started again.
        let mode = if self.options.keep { Mode::Fast } else { Mode::Immediate };
        let mut result = Ok(());
        for node in &self.nodes {
            node.resume();
            let stopped = node.stop(mode).await;
            result = result.and(stopped);
        }
        drop(self);
        result
    }

    /// `initdb` for the first node, cold copies for the others, each with its own configuration.
    async fn lay_out(&mut self) -> Result<(), LabError> {
        let ports = port::free(self.options.replicas + 1)?;
        let root = self.directory.path().to_path_buf();
        for (index, port) in ports.into_iter().enumerate() {
            let name = format!("pg{}", index + 1);
            let (binaries, nursery) = (Arc::clone(&self.binaries), Arc::clone(&self.nursery));
            self.nodes.push(Node::new(name, port, &root, self.options.patience, binaries, nursery));
        }
        let mut command = self.nursery.command(&self.binaries.tool("initdb")?);
        command.arg("-D").arg(&self.nodes[0].data);
        command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        self.nursery.run("initdb", command, self.options.patience).await?;
        let account = self.nursery.account().clone();
        let from = self.nodes[0].data.clone();
        let targets: Vec<_> = self.nodes[1..].iter().map(|n| n.data.clone()).collect();
        let copies = tokio::task::spawn_blocking(move || {
            targets.iter().try_for_each(|to| directory::copy(&from, to, &account))
        });
        copies
            .await
            .map_err(|e| LabError::Io { what: "copy data directories".to_owned(), source: e.into() })??;
        self.configure()
    }

    /// Writes every node's configuration for the ports chosen.
    fn configure(&self) -> Result<(), LabError> {
        let account = self.nursery.account();
        for (index, node) in self.nodes.iter().enumerate() {
            std::fs::File::create(&node.log).map_err(LabError::io("create a server log"))?;
            directory::write_private(&node.data.join("postgresql.conf"), self.settings(node), account)?;
            directory::write_private(
                &node.data.join("pg_hba.conf"),
                host_access(self.options.auth),
                account,
            )?;
            if let Some(tls) = &self.options.tls {
                for (from, to) in [(&tls.certificate, "server.crt"), (&tls.key, "server.key")] {
                    let what = format!("read {}", from.display());
                    let bytes = std::fs::read(from).map_err(LabError::io(what))?;
                    directory::write_private(&node.data.join(to), bytes, account)?;
                }
            }
            if index > 0 {
                directory::write_private(&node.data.join("standby.signal"), "", account)?;
            }
        }
        Ok(())
    }

    fn settings(&self, node: &Node) -> String {
        let mut text = format!(
            "# Written by the pgherd lab. Later lines win.\n\
             listen_addresses = '127.0.0.1'\nport = {port}\n\
             unix_socket_directories = '{sockets}'\ncluster_name = '{name}'\n\
             max_connections = 200\nshared_buffers = '64MB'\n\
             # A mapped file in the data directory: /dev/shm is tiny in containers and outlives a kill.\n\
             dynamic_shared_memory_type = mmap\n\
             # A lab lives through kill -9, which leaves the page cache whole; it need not survive a power cut.\n\
             fsync = off\n\
             wal_level = replica\nwal_log_hints = on\nmax_wal_senders = 10\nmax_replication_slots = 10\n\
             hot_standby = on\nhot_standby_feedback = on\nwal_receiver_status_interval = '1s'\n\
             wal_retrieve_retry_interval = '200ms'\n\
             password_encryption = '{encryption}'\nlog_line_prefix = '%m [%p] %a '\n",
            port = node.port,
            sockets = node.sockets.display(),
            name = node.name,
            encryption = self.options.auth.password_encryption(),
        );
        if node.name != self.nodes[0].name {
            // Written by ourselves: a newer pg_basebackup -R puts words in here that an older standby rejects.
            text.push_str(&format!(
                "primary_conninfo = 'host=127.0.0.1 port={} user={REPLICATOR} password={} application_name={}'\n\
                 primary_slot_name = '{}'\n",
                self.nodes[0].port, self.replicator_password, node.name, node.name
            ));
        }
        if self.options.tls.is_some() {
            text.push_str("ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n");
        }
        for line in &self.options.settings {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Starts the first primary; when one of the chosen ports was taken meanwhile, chooses again.
    async fn start_primary(&mut self) -> Result<(), LabError> {
        for _ in 1..PORT_ATTEMPTS {
            match self.primary().start().await {
                Err(LabError::Died { log, .. }) if log.contains("Address already in use") => {
                    let ports = port::free(self.nodes.len())?;
                    for (node, port) in self.nodes.iter_mut().zip(ports) {
                        node.port = port;
                    }
                    self.configure()?;
                }
                other => return other,
            }
        }
        self.primary().start().await
    }

    /// Roles, databases, and a slot per standby that keeps WAL from this moment on.
    async fn populate(&self) -> Result<(), LabError> {
        let password = literal(&self.replicator_password);
        let mut text = format!("CREATE ROLE {REPLICATOR} LOGIN REPLICATION PASSWORD {password};");
        for node in self.replicas() {
            text.push_str(&format!("SELECT pg_create_physical_replication_slot('{}', true);", node.name()));
        }
        self.primary().sql("postgres", &text).await?;
        for role in &self.options.roles {
            self.create_role(role).await?;
        }
        for database in &self.options.databases {
            self.create_database(database).await?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.nodes.iter().for_each(|node| node.end_now(LAST_GRACE));
    }
}

fn host_access(auth: Auth) -> String {
    let word = auth.word();
    format!(
        "# The socket directory is private to the account the server runs as.\n\
         local all all trust\n\
         host all all 127.0.0.1/32 {word}\nhost replication {REPLICATOR} 127.0.0.1/32 {word}\n"
    )
}

/// 128 unpredictable bits in hex: the standard library seeds each hasher from the system's random source.
pub(crate) fn secret() -> String {
    let state = || std::collections::hash_map::RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", state(), state())
}

/// SQL text as a literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// SQL text as a quoted identifier.
fn identifier(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
