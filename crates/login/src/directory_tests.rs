use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Knows who is written down; counts how often it is asked.
#[derive(Clone, Debug, Default)]
struct Book {
    users: Arc<Mutex<HashMap<String, Secret>>>,
    asked: Arc<AtomicUsize>,
    broken: Arc<Mutex<bool>>,
    slow: Duration,
}

impl Source for Book {
    fn fetch(&self, name: &str) -> Fetching {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (found, broken) = (self.users.lock().get(name).cloned(), *self.broken.lock());
        let slow = self.slow;
        Box::pin(async move {
            tokio::time::sleep(slow).await;
            if broken { Err(NotAnswered("broken".into())) } else { Ok(found) }
        })
    }
}

impl Book {
    fn knows(&self, name: &str, secret: &str) {
        self.users.lock().insert(name.into(), Secret::parse(secret));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn directory(&self) -> Arc<Directory> {
        self.remembering(60, 10)
    }

    fn remembering(&self, found: u64, unknown: u64) -> Arc<Directory> {
        let (found, unknown) = (Duration::from_secs(found), Duration::from_secs(unknown));
        let freshness = Freshness { found, unknown, within: Duration::from_secs(5) };
        Arc::new(Directory::new(Box::new(self.clone()), freshness))
    }
}

async fn later(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn answers_hold_for_their_time() {
    let book = Book::default();
    book.knows("alice", "one");
    let directory = book.directory();
    for (wait, alice, nobody) in [(0, 1, 1), (9, 0, 0), (2, 0, 1), (50, 1, 1)] {
        later(wait).await;
        let before = book.asked();
        assert!(directory.find("alice").await.unwrap().is_some());
        assert_eq!(book.asked() - before, alice, "alice after {wait}");
        assert!(directory.find("nobody").await.unwrap().is_none());
        assert_eq!(book.asked() - before - alice, nobody, "nobody after {wait}");
    }
    // A name no server has is not asked for.
    let before = book.asked();
    assert!(directory.find(&"x".repeat(300)).await.unwrap().is_none());
    assert_eq!((book.asked(), directory.len()), (before, 2));
}

#[tokio::test(start_paused = true)]
async fn one_asks_for_all() {
    let book = Book { slow: Duration::from_secs(1), ..Book::default() };
    book.knows("alice", "one");
    let directory = book.directory();
    let (a, b, c) =
        tokio::join!(directory.find("alice"), directory.find("alice"), directory.find("stranger"));
    assert!(Arc::ptr_eq(&a.unwrap().unwrap(), &b.unwrap().unwrap()) && c.unwrap().is_none());
    assert_eq!(book.asked(), 2);
    // The one who asks leaves; whoever stood behind asks in its place.
    later(100).await;
    let first = tokio::time::timeout(Duration::from_millis(500), directory.find("alice"));
    let (first, second) = tokio::join!(first, directory.find("alice"));
    assert!(first.is_err() && second.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_comes_together_is_told_together_even_when_nothing_is_remembered() {
    let book = Book { slow: Duration::from_secs(1), ..Book::default() };
    book.knows("alice", "one");
    let directory = book.remembering(0, 0);
    let (a, b, c) = tokio::join!(directory.find("alice"), directory.find("alice"), directory.find("alice"));
    assert!(a.unwrap().is_some() && b.unwrap().is_some() && c.unwrap().is_some());
    assert_eq!(book.asked(), 1);
    directory.find("alice").await.unwrap();
    assert_eq!(book.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_login_makes_the_next_ask_again() {
    let book = Book::default();
    book.knows("alice", "one");
    let directory = book.directory();
    let first = directory.find("alice").await.unwrap().unwrap();
    // Just asked: it is what the server has.
    directory.doubt("alice");
    directory.doubt("nobody");
    assert!(Arc::ptr_eq(&first, &directory.find("alice").await.unwrap().unwrap()));
    assert_eq!(book.asked(), 1);
    later(2).await;
    directory.doubt("alice");
    let same = directory.find("alice").await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &same) && book.asked() == 2, "the same secret is the same user");
    book.knows("alice", "two");
    later(2).await;
    directory.doubt("alice");
    let other = directory.find("alice").await.unwrap().unwrap();
    assert_eq!(other.secret, Secret::Plain("two".into()));
    for _ in 0..100 {
        directory.doubt("alice");
        directory.find("alice").await.unwrap();
    }
    assert_eq!(book.asked(), 3, "a guesser does not become the server's burden");
}

#[tokio::test(start_paused = true)]
async fn while_nobody_answers_what_was_found_counts() {
    let book = Book::default();
    book.knows("alice", "one");
    let directory = book.directory();
    directory.find("alice").await.unwrap();
    directory.find("nobody").await.unwrap();
    *book.broken.lock() = true;
    later(100).await;
    assert!(directory.find("alice").await.unwrap().is_some());
    assert_eq!(directory.find("nobody").await.unwrap_err(), NotAnswered("broken".into()));
    later(3600).await;
    assert!(directory.find("alice").await.is_err(), "not for ever");
    *book.broken.lock() = false;
    assert!(directory.find("alice").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_is_given_up_by_all_at_once() {
    let book = Book { slow: Duration::from_secs(1000), ..Book::default() };
    let directory = book.directory();
    let began = Instant::now();
    let (a, b) = tokio::join!(directory.find("alice"), directory.find("alice"));
    assert!(a.is_err() && b.is_err());
    assert_eq!((began.elapsed(), book.asked()), (Duration::from_secs(5), 1));
}

#[tokio::test(start_paused = true)]
async fn made_up_names_do_not_fill_it() {
    let book = Book::default();
    book.knows("alice", "one");
    let directory = book.directory();
    let alice = directory.find("alice").await.unwrap().unwrap();
    for number in 0..2 * MAX_NAMES {
        directory.find(&format!("stranger {number}")).await.unwrap();
    }
    assert!(directory.len() <= MAX_NAMES);
    let before = book.asked();
    assert!(Arc::ptr_eq(&alice, &directory.find("alice").await.unwrap().unwrap()));
    assert_eq!(book.asked(), before, "who exists is not pushed out");
    for number in 0..MAX_NAMES + 1 {
        book.knows(&format!("user {number}"), "x");
        directory.find(&format!("user {number}")).await.unwrap();
    }
    assert!(directory.len() <= MAX_NAMES);
}
