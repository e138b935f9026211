//! `auth.query`: users whom only the servers know.

use crate::house::House;
use pgherd_lab::lab::Lab;

const WHO: &str = "SELECT current_user";

fn settings(_: &Lab) -> Vec<(&'static str, String)> {
    let lookup = [
        "method = \"md5\"",
        "query = \"SELECT name, secret FROM pgherd.lookup($1)\"",
        "query_user = \"pgherd_auth\"",
        "query_password = \"lookup\"",
    ]
    .map(|line| ("auth", line.to_owned()));
    // A pool that keeps connections would notice a changed password before any client does.
    lookup.into_iter().chain([("pool", "min_pool_size = 0".to_owned())]).collect()
}

#[tokio::test]
async fn users_are_looked_up_and_followed() {
    let house = House::build(settings).await;
    for user in ["carol", "hashed", "carol"] {
        assert_eq!(house.psql(user, "one", WHO).await.as_deref(), Ok(user));
    }
    let bound =
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'carol' AND ssl";
    assert_eq!(house.sql(bound).await.trim(), "1", "by TLS");
    refusals(&house).await;
    a_changed_password_is_followed(&house).await;
    a_server_that_refuses_is_heard(&house).await;
    a_query_that_fails_is_told_to_the_log_only(&house).await;
    without_a_primary_a_replica_is_asked(&house).await;
    let said = house.said();
    assert!(!said.contains("SCRAM-SHA-256$") && !said.contains("'one'"), "no secret in the log: {said}");
    house.end().await;
}

/// Nobody outside can tell why.
async fn refusals(house: &House) {
    for (user, password) in
        [("nobody", "one"), ("carol", "wrong"), ("late", "one"), ("root_like", "one"), ("hashed", "wrong")]
    {
        let told = house.psql(user, password, WHO).await.unwrap_err();
        let words = format!("FATAL:  password authentication failed for user \"{user}\"");
        assert!(told.contains(&words), "{told}");
    }
    let said = house.said();
    assert!(said.contains("there is no such user") && said.contains("the password does not match"), "{said}");
    // A name is a value, never a piece of SQL.
    let told = house.psql("x' OR rolname='carol", "one", WHO).await.unwrap_err();
    assert!(told.contains("password authentication failed"), "{told}");
}

async fn a_changed_password_is_followed(house: &House) {
    assert_eq!(house.psql("carol", "one", WHO).await.as_deref(), Ok("carol"));
    house.sql("SET password_encryption = 'scram-sha-256'; ALTER ROLE carol PASSWORD 'two'").await;
    house.cut("carol").await;
    // By what is remembered the new password is wrong. That makes the next one ask, if the last answer is older than a second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let first = house.psql("carol", "two", WHO).await;
    assert!(first.is_err(), "remembered: {first:?}");
    // A new connection to the server, too, is opened with the new password.
    assert_eq!(house.psql("carol", "two", WHO).await.as_deref(), Ok("carol"));
    let told = house.psql("carol", "one", WHO).await.unwrap_err();
    assert!(told.contains("password authentication failed"), "{told}");
}

/// A client that is let in by what is remembered, and then by no server.
async fn a_server_that_refuses_is_heard(house: &House) {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    house.sql("SET password_encryption = 'scram-sha-256'; ALTER ROLE carol PASSWORD 'three'").await;
    house.cut("carol").await;
    let told = house.psql("carol", "two", WHO).await.unwrap_err();
    assert!(told.contains("password authentication failed for user \"carol\""), "{told}");
    assert_eq!(house.psql("carol", "three", WHO).await.as_deref(), Ok("carol"), "asked again by itself");
}

async fn a_query_that_fails_is_told_to_the_log_only(house: &House) {
    house.sql("REVOKE EXECUTE ON FUNCTION pgherd.lookup(text) FROM pgherd_auth").await;
    let told = house.psql("fresh", "one", WHO).await.unwrap_err();
    assert!(told.contains("could not look up user \"fresh\"") && !told.contains("permission"), "{told}");
    assert!(house.said().contains("permission denied for function lookup"), "{}", house.said());
    house.sql("GRANT EXECUTE ON FUNCTION pgherd.lookup(text) TO pgherd_auth").await;
    house.lab.wait_replicated().await.unwrap();
}

async fn without_a_primary_a_replica_is_asked(house: &House) {
    house.lab.primary().stop(pgherd_lab::node::Mode::Fast).await.unwrap();
    let begun = std::time::Instant::now();
    let port = house.front.ports().replicas.to_string();
    let words = [("PGHOST", "127.0.0.1"), ("PGPORT", &*port), ("PGUSER", "dave"), ("PGPASSWORD", "one")];
    loop {
        match house.psql_with(&words, WHO).await {
            Ok(who) => return assert_eq!(who, "dave"),
            Err(why) => assert!(begun.elapsed().as_secs() < 20, "{why}\n{}", house.said()),
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}
