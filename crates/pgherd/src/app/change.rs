//! A change of primary that somebody asks for, to its end.

use crate::app::House;
use crate::config::settings::control::Api;
use pgherd_admin::action::{Asking, Denied, Done, Order};
use pgherd_controller::error::ControlError;
use pgherd_controller::view::View;
use pgherd_failover::journal::Kind;
use std::time::Duration;

/// How often a wait looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// Why there is no new primary.
#[derive(Debug)]
pub(super) enum Failed {
    /// It was not even begun.
    Impossible(String),
    /// It was begun, and undone.
    GivenUp(String),
}

/// Another primary while there is one; the name of the new one. Given up, it goes on.
pub(super) async fn switchover(house: &House, to: Option<&str>) -> Result<String, Failed> {
    begun(house.controller.switchover(to).await)?;
    ended(house).await
}

/// A primary while there is none; its name. Given up, it goes on.
pub(super) async fn failover(house: &House, to: Option<&str>, allow_loss: bool) -> Result<String, Failed> {
    begun(house.controller.failover(to, allow_loss).await)?;
    ended(house).await
}

fn begun(answer: Result<(), ControlError>) -> Result<(), Failed> {
    answer.map_err(|why| Failed::Impossible(why.to_string()))
}

async fn ended(house: &House) -> Result<String, Failed> {
    while house.controller.status().change.is_some() {
        tokio::time::sleep(LOOK).await;
    }
    let view = house.controller.status();
    let mut lines = view.journal.iter().rev().map(|line| &line.entry);
    let last = lines.clone().find(|entry| entry.kind == Kind::Plan);
    let undone = last.is_some_and(|entry| entry.text.ends_with("is undone"));
    if let Some(name) = primary(&view).filter(|_| !undone) {
        return Ok(name);
    }
    let why =
        lines.find(|entry| entry.kind == Kind::Refused).map_or("nobody was promoted", |entry| &entry.text);
    Err(Failed::GivenUp(why.to_owned()))
}

/// The name of the routed primary.
fn primary(view: &View) -> Option<String> {
    let node = view.nodes.iter().find(|node| Some(node.id) == view.primary)?;
    Some(node.spec.name.to_string())
}

/// What is asked for over HTTP, in Patroni's words.
pub(super) async fn answered(house: &House, order: Order) -> Done {
    let there = primary(&house.controller.status());
    let (done, wanted, words) = match order {
        Order::Switchover { from, to } => {
            if there.as_ref() != Some(&from) {
                return (412, "leader name does not match".to_owned());
            }
            (switchover(house, to.as_deref()).await, to, "Successfully switched over to")
        }
        Order::Failover { to } => {
            let words = "Successfully failed over to";
            let done = match there {
                Some(_) => switchover(house, Some(&to)).await,
                None => failover(house, Some(&to), false).await,
            };
            (done, Some(to), words)
        }
    };
    match done {
        Ok(name) => match wanted.filter(|wanted| *wanted != name) {
            Some(wanted) => (200, format!("Switched over to \"{name}\" instead of \"{wanted}\"")),
            None => (200, format!("{words} \"{name}\"")),
        },
        Err(Failed::Impossible(why)) => (412, why),
        Err(Failed::GivenUp(why)) => (503, why),
    }
}

/// Who may ask for it (`api.auth`).
pub(super) fn admits(api: &Api, asking: &Asking) -> Result<(), Denied> {
    if api.auth == crate::config::words::ApiAuth::None {
        return Ok(());
    }
    let Some(password) = &api.admin_password else {
        return if asking.peer.is_loopback() { Ok(()) } else { Err(Denied::Elsewhere) };
    };
    let Some((user, given)) = &asking.basic else { return Err(Denied::NoPassword) };
    let same = |a: &str, b: &str| {
        aws_lc_rs::constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
    };
    match same(user, &api.admin_user) & same(given, password.expose()) {
        true => Ok(()),
        false => Err(Denied::Wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;
    use crate::config::words::{ApiAuth, PrimaryRoleName};

    #[test]
    fn a_password_or_this_machine() {
        let mut api = Api {
            listen: None,
            face: "cluster".into(),
            primary_role_name: PrimaryRoleName::Primary,
            auth: ApiAuth::Password,
            admin_user: "admin".into(),
            admin_password: None,
        };
        let asks = |peer: [u8; 4], basic: Option<(&str, &str)>| Asking {
            peer: peer.into(),
            basic: basic.map(|(user, password)| (user.to_owned(), password.to_owned())),
        };
        let (here, there) = ([127, 0, 0, 1], [192, 0, 2, 1]);
        assert_eq!(admits(&api, &asks(here, None)), Ok(()));
        assert_eq!(admits(&api, &asks(there, None)), Err(Denied::Elsewhere));
        api.admin_password = Some(Secret::new("secret"));
        assert_eq!(admits(&api, &asks(here, None)), Err(Denied::NoPassword));
        for (user, password) in [("admin", "wrong"), ("root", "secret"), ("admin", ""), ("", "")] {
            assert_eq!(admits(&api, &asks(here, Some((user, password)))), Err(Denied::Wrong));
        }
        assert_eq!(admits(&api, &asks(there, Some(("admin", "secret")))), Ok(()));
        api.auth = ApiAuth::None;
        assert_eq!(admits(&api, &asks(there, None)), Ok(()));
    }
}
