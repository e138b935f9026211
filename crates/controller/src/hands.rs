//! The deeds of a plan, in SQL. Each server has a hand of its own, which does one thing after the other and keeps the server's lock while it may be needed again.

use crate::connector::{Connector, Target};
use crate::deeds;
use crate::grip::{Failed, Grip};
use pgherd_failover::deed::{Deed, Ended, Report};
use pgherd_topology::node::{Address, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Deeds that may wait for one hand; a plan asks for few.
const WAITING: usize = 64;

/// Time a hand keeps its lock while nothing is asked of it.
const KEEP: Duration = Duration::from_secs(30);

/// One thing to do.
pub(crate) struct Job {
    pub(crate) plan: u64,
    pub(crate) deed: Deed,
    pub(crate) limit: Duration,
    /// The server itself.
    pub(crate) target: Target,
    /// The other server the deed speaks of.
    pub(crate) other: Option<Target>,
}

/// All hands.
pub(crate) struct Hands {
    connector: Arc<dyn Connector>,
    ends: mpsc::Sender<Ended>,
    all: BTreeMap<NodeId, mpsc::Sender<Job>>,
}

impl Hands {
    pub(crate) fn new(connector: Arc<dyn Connector>, ends: mpsc::Sender<Ended>) -> Hands {
        Hands { connector, ends, all: BTreeMap::new() }
    }

    /// Asks for a deed; its end is told, whatever it is. `Err`: too much waits already.
    pub(crate) fn ask(&mut self, node: NodeId, job: Job) -> Result<(), Ended> {
        let hand = self.all.entry(node).or_insert_with(|| {
            let (sender, jobs) = mpsc::channel(WAITING);
            tokio::spawn(hand(node, self.connector.clone(), jobs, self.ends.clone()));
            sender
        });
        hand.try_send(job).map_err(|error| {
            let job = error.into_inner();
            ended(node, &job, Err("too much is asked for already".into()))
        })
    }

    pub(crate) fn forget(&mut self, node: NodeId) {
        self.all.remove(&node);
    }
}

fn ended(node: NodeId, job: &Job, outcome: Result<Report, Failed>) -> Ended {
    Ended { plan: job.plan, node, word: job.deed.word(), outcome }
}

/// Ends when nobody can ask any more.
async fn hand(
    node: NodeId,
    connector: Arc<dyn Connector>,
    mut jobs: mpsc::Receiver<Job>,
    ends: mpsc::Sender<Ended>,
) {
    let mut grip: Option<(Address, Grip)> = None;
    loop {
        // Cancel safe: a job that was not received stays in the channel.
        let job = match timeout(KEEP, jobs.recv()).await {
            Ok(Some(job)) => job,
            Ok(None) => return,
            Err(_) => {
                grip = None;
                continue;
            }
        };
        let held = grip.take().filter(|(address, grip)| *address == job.target.address && grip.holds());
        let done = timeout(job.limit, async {
            let grip = match held {
                Some((_, grip)) => grip,
                None => Grip::take(&*connector, &job.target).await?,
            };
            let report = deeds::perform(&grip, &*connector, &job).await;
            Ok::<_, Failed>((grip, report))
        });
        let outcome = match done.await {
            Ok(Ok((kept, outcome))) => {
                grip = Some((job.target.address.clone(), kept)).filter(|(_, kept)| kept.holds());
                outcome
            }
            Ok(Err(text)) => Err(text),
            // Whatever it was about to do: the connection that would do it is gone.
            Err(_) => Err(format!("not done within {:.1}s", job.limit.as_secs_f64()).into()),
        };
        tracing::debug!(node = node.0, deed = job.deed.word(), ?outcome, "a deed has ended");
        if ends.send(ended(node, &job, outcome)).await.is_err() {
            return;
        }
    }
}
