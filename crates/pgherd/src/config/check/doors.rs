//! Who may come in, and where.

use super::about;
use crate::config::fault::{Code, Fault, Report};
use crate::config::secret::Secret;
use crate::config::secrets::is_md5;
use crate::config::settings::front::HostPort;
use crate::config::values::{Instance, Values};
use pgherd_login::settings::Network;
use std::net::IpAddr;
use std::path::PathBuf;

/// Every address to listen on, with where it is said.
fn listening(values: &Values) -> Vec<(&Instance, &'static str, HostPort)> {
    const KEYS: [(&str, &str); 7] = [
        ("listen", "primary"),
        ("listen", "replicas"),
        ("listen", "any"),
        ("listener", "address"),
        ("node", "api_listen"),
        ("api", "listen"),
        ("web", "listen"),
    ];
    let mut all = Vec::new();
    for (section, key) in KEYS {
        for instance in values.each(section) {
            if let Some(address) = instance.find::<Option<HostPort>>(key).flatten() {
                all.push((instance, key, address));
            }
        }
    }
    all
}

fn everywhere(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Two listeners on one port, and no listener at all.
pub(super) fn addresses(values: &Values, report: &mut Report) {
    let all = listening(values);
    for (at, (instance, key, address)) in all.iter().enumerate() {
        let taken = all[..at].iter().find(|(_, _, other)| {
            let same_host =
                other.host == address.host || everywhere(&other.host) || everywhere(&address.host);
            other.port == address.port && address.port != 0 && same_host
        });
        if let Some((other, other_key, _)) = taken {
            // Blame the one that was said; two defaults never collide.
            let (blamed, key, with, with_key) = if instance.said(key) || !other.said(other_key) {
                (instance, key, other, other_key)
            } else {
                (other, other_key, instance, key)
            };
            let text = format!("{key} {address} is taken by {with_key} in {}", with.title());
            report.faults.push(about(blamed, key, Code::Contradiction, text));
        }
    }
    let doors = all.iter().filter(|(i, _, _)| matches!(i.section.name, "listen" | "listener")).count();
    if doors == 0 {
        let listen = values.single("listen");
        report.faults.push(about(
            listen,
            "primary",
            Code::Missing,
            "every listener is off: nobody can connect",
        ));
    }
}

/// Networks that are none, and balancers that may be anybody.
pub(super) fn balancers(values: &Values, report: &mut Report) {
    const KEY: &str = "proxy_protocol_from";
    for instance in values.each("listen").chain(values.each("listener")) {
        for text in instance.find::<Vec<String>>(KEY).unwrap_or_default() {
            match text.parse::<pgherd_login::settings::Network>() {
                Err(error) => report.faults.push(about(instance, KEY, Code::NotAValue, error.to_string())),
                Ok(_) if text.ends_with("/0") => {
                    let text = format!("{text}: whoever reaches the port may claim to come from any address");
                    let fault = about(instance, KEY, Code::OpenDoor, text);
                    report.faults.push(fault.help("name the networks of your balancers"));
                }
                Ok(_) => {}
            }
        }
    }
}

/// A certificate needs its key, and TLS that is required needs both.
pub(super) fn tls(values: &Values, report: &mut Report) {
    let listen = values.single("listen");
    let given = |instance: &Instance, key: &str| instance.find::<Option<PathBuf>>(key).flatten().is_some();
    let (certificate, key) = (given(listen, "certificate"), given(listen, "key"));
    if certificate != key {
        let (there, lacking) = if certificate { ("certificate", "key") } else { ("key", "certificate") };
        let text = format!("{there} without {lacking}");
        report.faults.push(about(listen, there, Code::Contradiction, text));
    } else if !certificate && listen.find::<&'static str>("client_tls") == Some("require") {
        let text = "client_tls = \"require\" needs `certificate` and `key`";
        report.faults.push(about(listen, "client_tls", Code::Missing, text));
    }
    if given(listen, "client_ca") && !certificate {
        let text = "client_ca without `certificate`: there is no TLS in which a client could show its own";
        report.faults.push(about(listen, "client_ca", Code::Doubtful, text));
    }
    for node in values.each("node") {
        let word = |key| node.find::<&'static str>(key).unwrap_or_default();
        if word("channel_binding") == "require" && word("ssl") == "disable" {
            let text = "channel_binding = \"require\" needs TLS, and ssl is \"disable\"";
            report.faults.push(about(node, "channel_binding", Code::Contradiction, text));
        }
        if given(node, "ssl_cert") != given(node, "ssl_key") {
            let there = if given(node, "ssl_cert") { "ssl_cert" } else { "ssl_key" };
            report.faults.push(about(node, there, Code::Contradiction, "ssl_cert and ssl_key go together"));
        }
    }
}

/// Users that cannot log in, and doors without a lock.
pub(super) fn users(values: &Values, report: &mut Report) {
    let auth = values.single("auth");
    let method = auth.find::<&'static str>("method").unwrap_or_default();
    // Somewhere else than in the settings.
    let elsewhere =
        auth.find::<Option<PathBuf>>("users_file").flatten().is_some() || auth.get("query").is_some();
    let mut trusted = method == "trust";
    for user in values.each("user") {
        let method = user.find::<&'static str>("auth").unwrap_or(method);
        trusted |= method == "trust";
        user_password(user, method, elsewhere, report);
    }
    if values.each("user").next().is_none() && !elsewhere {
        own_account(values, method, report);
    }
    trust(values, trusted, report);
    certificates(values, report);
    own_doors(values, report);
}

/// Where nothing is asked: only on this machine and in networks that are named.
fn trust(values: &Values, trusted: bool, report: &mut Report) {
    let auth = values.single("auth");
    let networks = auth.find::<Vec<String>>("trusted_networks").unwrap_or_default();
    for text in &networks {
        match text.parse::<Network>() {
            Err(error) => {
                report.faults.push(about(auth, "trusted_networks", Code::NotAValue, error.to_string()));
            }
            Ok(network) if trusted && network.is_everywhere() => {
                let text = format!("\"trust\" lets everybody in from {network}, that is from everywhere");
                let fault = about(auth, "trusted_networks", Code::OpenDoor, text);
                report
                    .faults
                    .push(fault.help("name the networks of your applications, or ask for a password"));
            }
            Ok(_) => {}
        }
    }
    if !networks.is_empty() && !trusted {
        let text = "trusted_networks without method \"trust\": they change nothing";
        report.faults.push(about(auth, "trusted_networks", Code::Doubtful, text));
    }
    let open = listening(values)
        .into_iter()
        .find(|(i, _, a)| matches!(i.section.name, "listen" | "listener") && !loopback(&a.host));
    if let (true, Some((_, _, address))) = (trusted, open) {
        let blamed = values.each("user").find(|user| user.find::<&'static str>("auth") == Some("trust"));
        let (instance, key) = blamed.map_or((auth, "method"), |user| (user, "auth"));
        let whence = if networks.is_empty() { "this machine".to_string() } else { networks.join(", ") };
        let text = format!(
            "\"trust\" lets everybody in from {whence}; who reaches {address} from elsewhere is asked by \"scram-sha-256\""
        );
        let fault = about(instance, key, Code::OpenDoor, text);
        report.faults.push(fault.help("listen on 127.0.0.1, or ask for a password"));
    }
}

/// Certificates that are asked for where none can be shown.
fn certificates(values: &Values, report: &mut Report) {
    let given = values.single("listen").find::<Option<PathBuf>>("client_ca").flatten().is_some();
    let asking = [("auth", "method"), ("auth", "clientcert"), ("user", "auth"), ("user", "clientcert")];
    for (section, key) in asking {
        for instance in values.each(section) {
            let word = instance.find::<&'static str>(key).unwrap_or("off");
            if !given && matches!(word, "cert" | "verify-ca" | "verify-full") {
                let text = format!("{key} = \"{word}\" needs listen.client_ca: what issued the certificates");
                report.faults.push(about(instance, key, Code::Missing, text));
            }
        }
    }
}

/// What is asked on Unix sockets when there is none, and maps of no file.
fn own_doors(values: &Values, report: &mut Report) {
    let (auth, listen) = (values.single("auth"), values.single("listen"));
    if listen.find::<Option<PathBuf>>("unix_socket_dir").flatten().is_none() {
        for (section, key) in [("auth", "method"), ("user", "auth")] {
            for instance in values.each(section) {
                if instance.find::<&'static str>(key) == Some("peer") {
                    let text = format!(
                        "{key} = \"peer\" is for Unix sockets, and there is no listen.unix_socket_dir"
                    );
                    report.faults.push(about(instance, key, Code::Doubtful, text));
                }
            }
        }
    }
    if auth.find::<Option<PathBuf>>("ident_file").flatten().is_none() {
        for key in ["cert_map", "peer_map"].into_iter().filter(|key| auth.get(key).is_some()) {
            let text = format!("{key} without ident_file: nobody may be anybody by it");
            report.faults.push(about(auth, key, Code::Doubtful, text));
        }
    }
}

fn user_password(user: &Instance, method: &str, elsewhere: bool, report: &mut Report) {
    let asked = !matches!(method, "trust" | "cert" | "peer");
    let Some(password) = user.find::<Secret>("password") else {
        let given = ["password_file", "password_env"].iter().any(|key| user.said(key));
        if asked && !elsewhere && !given {
            let text = format!("{} has no password: it cannot log in by \"{method}\"", user.title());
            report.faults.push(
                about(user, "password", Code::Doubtful, text)
                    .help("give password, password_file or password_env"),
            );
        }
        return;
    };
    let key = ["password", "password_file", "password_env"]
        .into_iter()
        .find(|key| user.said(key))
        .unwrap_or("password");
    let text = password.expose();
    let unfit = match method {
        "scram-sha-256" | "peer" if is_md5(text) => Some("an md5 hash"),
        _ => None,
    };
    if let Some(what) = unfit {
        let text = format!("{} has {what}, which cannot be checked by \"{method}\"", user.title());
        report.faults.push(about(user, key, Code::Contradiction, text));
    }
    let servers =
        ["server_password", "server_password_file", "server_password_env"].iter().any(|key| user.said(key));
    // A verifier is as good as a password: the servers that hold it are given the proof the client gave.
    if is_md5(text) && !servers {
        let text =
            format!("{} has no password for servers: a hash opens only those that ask for md5", user.title());
        let fault = about(user, key, Code::Doubtful, text);
        report.faults.push(fault.help("give server_password, or let the servers trust pgherd"));
    }
}

/// The statement that finds users, and what comes with it.
pub(super) fn query(values: &Values, report: &mut Report) {
    let auth = values.single("auth");
    let Some(query) = auth.find::<String>("query") else {
        let keys = ["query_user", "query_password", "query_database"];
        if let Some(key) = keys.into_iter().find(|key| auth.get(key).is_some()) {
            let text = format!("{key} without `query`: nobody is looked up");
            report.faults.push(about(auth, key, Code::Doubtful, text));
        }
        return;
    };
    if !query.contains("$1") {
        let text = "query does not ask for a name: it has no $1";
        report.faults.push(about(auth, "query", Code::Doubtful, text));
    }
    if auth.get("query_user").is_none() && values.single("cluster").get("user").is_none() {
        let text = "query has nobody to run as: give query_user, or cluster.user";
        report.faults.push(about(auth, "query", Code::Doubtful, text));
    }
}

/// Nobody is named: then the cluster's own account is the only user, so it must be there.
fn own_account(values: &Values, method: &str, report: &mut Report) {
    let cluster = values.single("cluster");
    if cluster.get("user").is_none() {
        let text = "no user: neither [[user]] nor auth.users_file nor auth.query nor cluster.user is given";
        let fault = Fault::new(Code::Missing, cluster.place.clone(), text);
        report
            .faults
            .push(fault.help("give [cluster] user and password, or add [[user]]").about("cluster", "user"));
        return;
    }
    let given = ["password", "password_file", "password_env"].iter().any(|key| cluster.said(key));
    if !matches!(method, "trust" | "cert" | "peer") && !given {
        let text =
            format!("cluster.user is the only user and has no password: nobody can log in by \"{method}\"");
        report.faults.push(about(cluster, "user", Code::Doubtful, text));
    }
}

/// Changes through the API that nobody is asked for.
pub(super) fn api(values: &Values, report: &mut Report) {
    let api = values.single("api");
    let open = api.find::<&'static str>("auth") == Some("none");
    if let (true, Some(address)) = (open, api.find::<Option<HostPort>>("listen").flatten())
        && !loopback(&address.host)
    {
        let text = format!("auth = \"none\": everybody who can reach {address} may change the cluster");
        report.faults.push(about(api, "auth", Code::OpenDoor, text));
    }
}
