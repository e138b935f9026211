use super::*;
use crate::directory::{Directory, Fetching, Freshness, NotAnswered, Source};
use parking_lot::Mutex;

/// Knows alice, by a secret that can be changed; breaks for whoever is called "broken".
#[derive(Clone, Debug)]
struct One(Arc<Mutex<&'static str>>);

impl Source for One {
    fn fetch(&self, name: &str) -> Fetching {
        let answer = match name {
            "alice" => Ok(Some(Secret::parse(*self.0.lock()))),
            "broken" => Err(NotAnswered("no node".into())),
            _ => Ok(None),
        };
        Box::pin(async { answer })
    }
}

fn looking(method: Method) -> (Settings, Arc<Mutex<&'static str>>) {
    let secret = Arc::new(Mutex::new("secret"));
    let second = Duration::from_secs(60);
    let freshness = Freshness { found: second, unknown: second, within: second };
    let directory = Directory::new(Box::new(One(secret.clone())), freshness);
    let settings = Settings { directory: Some(Arc::new(directory)), ..settings(method) };
    (settings, secret)
}

#[tokio::test]
async fn a_user_who_is_looked_up_proves_it_like_any_other() {
    for method in [Method::ScramSha256, Method::Md5, Method::Password] {
        let (settings, _) = looking(method);
        let admitted = client(log_in(settings.clone(), "alice", "secret").await.0);
        assert_eq!(admitted.secret, ClientSecret::Password("secret".into()));
        // Who is in the settings is not looked up.
        client(log_in(settings.clone(), "plain", "secret").await.0);
        let mut told = Vec::new();
        for (user, password) in [("alice", "wrong"), ("nobody", "secret"), ("plain", "wrong")] {
            let (arrival, error) = log_in(settings.clone(), user, password).await;
            assert!(matches!(arrival, Arrival::Gone));
            told.push(error.unwrap().to_string().replace(user, "X"));
        }
        assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{method:?}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_password_is_taken_after_one_failure() {
    let (settings, secret) = looking(Method::Password);
    client(log_in(settings.clone(), "alice", "secret").await.0);
    *secret.lock() = "changed";
    client(log_in(settings.clone(), "alice", "secret").await.0);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(log_in(settings.clone(), "alice", "changed").await.1.is_some());
    client(log_in(settings.clone(), "alice", "changed").await.0);
    assert!(log_in(settings, "alice", "secret").await.1.is_some());
}

#[tokio::test]
async fn whom_nobody_knows_about_is_told_to_try_again() {
    let (settings, _) = looking(Method::ScramSha256);
    let (_, answer) = say(settings.clone(), remote(), &hello("broken")).await;
    assert_eq!(refusal(&answer), ("57P03".into(), "could not look up user \"broken\"".into()));
    // Whoever is trusted needs no lookup.
    let (arrival, _) =
        say(Settings { trusted: Trusted::local(), ..settings }, Peer::Unix(None), &hello("broken")).await;
    client(arrival);
}
