//! What the files that settings name, certificates and users, are good for: what the settings alone cannot tell.

use crate::app::keeper::Keeper;
use crate::app::{StartError, plan};
use crate::config::fault::{Code, Fault};
use crate::config::settings::Settings;
use crate::config::values::{Instance, Values};
use pgherd_net::tls::TlsError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Users named in one warning.
const MAX_NAMED: usize = 5;

/// Reads the files and forgets them. Faults of them, the first that forbids a start at the latest.
pub fn faults(settings: &Arc<Settings>) -> Vec<Fault> {
    let rehearsed = Keeper::new(settings.clone()).and_then(|keeper| {
        let door = keeper.door(&Arc::default())?;
        plan::Encryption::default().read(settings)?;
        Ok(door)
    });
    match rehearsed {
        Ok(door) => locked_out(settings, &door).into_iter().chain(empty_maps(settings, &door)).collect(),
        Err(error) => vec![fault(&settings.values, &error)],
    }
}

fn fault(values: &Values, error: &StartError) -> Fault {
    let (instance, key, text) = match error {
        StartError::Tls(error) => {
            let listen = values.single("listen");
            let keys = ["certificate", "key", "client_ca"];
            (listen, blamed(listen, error, &keys, "key"), error.to_string())
        }
        StartError::NodeTls(name, error) => {
            let node = values.each("node").find(|node| node.label().as_deref() == Some(name));
            let keys = ["ssl_root_cert", "ssl_cert", "ssl_key"];
            let Some(node) = node else { return Fault::new(Code::BadFile, nowhere(), error.to_string()) };
            (node, blamed(node, error, &keys, "ssl_key"), format!("node \"{name}\": {error}"))
        }
        StartError::Users(error) => (values.single("auth"), "users_file", error.to_string()),
        StartError::Ident(error) => (values.single("auth"), "ident_file", error.to_string()),
        StartError::Faults(_) | StartError::Io(..) | StartError::Login(_) => {
            return Fault::new(Code::BadFile, nowhere(), error.to_string());
        }
    };
    let text = format!("{key}: {text}");
    Fault::new(Code::BadFile, instance.place_of(key), text).about(instance.section.name, key)
}

fn nowhere() -> crate::config::source::Place {
    crate::config::source::Place::Nowhere
}

/// The key that names the file the error is about; `pair` when it is about two that do not go together.
fn blamed<'k>(instance: &Instance, error: &TlsError, keys: &[&'k str], pair: &'k str) -> &'k str {
    let TlsError::File { path, .. } = error else { return pair };
    let names = |key: &str| instance.find::<Option<PathBuf>>(key).flatten();
    keys.iter().find(|key| names(key).as_deref() == Some(Path::new(path))).copied().unwrap_or(pair)
}

/// Maps that are named and allow nobody anything, because they are not in the file.
fn empty_maps(settings: &Settings, door: &pgherd_login::settings::Settings) -> Vec<Fault> {
    let auth = settings.values.single("auth");
    let named = [("cert_map", &door.names.cert), ("peer_map", &door.names.peer)];
    let empty = named.into_iter().filter(|(_, map)| map.as_ref().is_some_and(|map| map.is_empty()));
    empty
        .map(|(key, _)| {
            let text = format!("{key} names no map of ident_file: nobody may be anybody by it");
            Fault::new(Code::Doubtful, auth.place_of(key), text).about("auth", key)
        })
        .collect()
}

/// Users of the users file whose hash the method cannot check; those of `[[user]]` are told of where they stand.
fn locked_out(settings: &Settings, door: &pgherd_login::settings::Settings) -> Option<Fault> {
    let mut names = door.locked_out();
    names.retain(|name| settings.users.iter().all(|user| *user.name != **name));
    let more = if names.len() > MAX_NAMED { ", ..." } else { "" };
    let shown: Vec<&str> = names.iter().take(MAX_NAMED).map(|name| &**name).collect();
    if shown.is_empty() {
        return None;
    }
    let text = format!(
        "users_file holds md5 hashes, which \"scram-sha-256\" cannot check: {}{more} cannot log in",
        shown.join(", ")
    );
    let auth = settings.values.single("auth");
    let fault = Fault::new(Code::Doubtful, auth.place_of("users_file"), text).about("auth", "users_file");
    Some(fault.help("method = \"md5\", or SCRAM verifiers (from pg_authid) or passwords in the file"))
}
