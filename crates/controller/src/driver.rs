//! The loop that waits: collect one event, step, do what the step says.

use crate::clock::Clock;
use crate::connector::{Connector, Target};
use crate::error::ControlError;
use crate::handle::{Command, Handle, Request};
use crate::hands::{Hands, Job};
use crate::ledger::Ledger;
use crate::memory;
use crate::probe::Probe;
use crate::sampler::Sampler;
use crate::settings::{Login, NodeSettings, Settings};
use crate::view::View;
use crate::watcher::{Order, Watcher};
use arc_swap::ArcSwap;
use pgherd_failover::deed::{Deed, Ended};
use pgherd_failover::event::{self, Action, Event, Hint, Output};
use pgherd_failover::journal::Kind;
use pgherd_failover::observation::Observation;
use pgherd_failover::state::{Memory, State};
use pgherd_failover::step::step;
use pgherd_topology::cell::Cell;
use pgherd_topology::gauge::Gauges;
use pgherd_topology::node::{Address, NodeId};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Observations, hints and requests that may wait for the loop.
const WAITING: usize = 256;

/// Hints about one node within this time say the same thing.
const ECHO: Duration = Duration::from_millis(50);

/// The controller at work. Made by [`new`], consumed by [`Driver::run`].
pub struct Driver {
    state: State,
    cell: Arc<Cell>,
    connector: Arc<dyn Connector>,
    clock: Clock,
    ledger: Ledger,
    state_dir: Option<PathBuf>,
    remembered: Option<Memory>,
    /// How to log in, by name; discovered nodes use `login`.
    logins: BTreeMap<Arc<str>, Login>,
    login: Login,
    watchers: BTreeMap<NodeId, (Watcher, Sampler)>,
    gauges: Arc<Gauges>,
    hinted: BTreeMap<NodeId, Duration>,
    seen: mpsc::Sender<Observation>,
    sights: mpsc::Receiver<Observation>,
    hints: mpsc::Receiver<(NodeId, Hint)>,
    commands: mpsc::Receiver<Command>,
    hands: Hands,
    ends: mpsc::Receiver<Ended>,
    unasked: Vec<Ended>,
    view: Arc<ArcSwap<View>>,
    wake_at: Option<Duration>,
    first: Vec<Event>,
}

/// What the loop collects.
enum Next {
    Stop,
    Event(Event),
    Command(Command),
}

/// A controller for these settings that will publish into `cell`, and read `gauges` when sessions want them read. It does nothing before [`Driver::run`].
///
/// # Errors
/// When `state_dir` cannot be used or holds a damaged memory.
pub fn new(
    settings: Settings,
    cell: Arc<Cell>,
    gauges: Arc<Gauges>,
    connector: Arc<dyn Connector>,
) -> io::Result<(Handle, Driver)> {
    let clock = Clock::start();
    let ledger = Ledger::open(clock, settings.state_dir.as_deref())?;
    let remembered = settings.state_dir.as_deref().map(memory::load).transpose()?.flatten();
    let state = State::new(settings.policy, remembered.clone());
    let (seen, sights) = mpsc::channel(WAITING);
    let (hint_sender, hints) = mpsc::channel(WAITING);
    let (command_sender, commands) = mpsc::channel(WAITING);
    let (end_sender, ends) = mpsc::channel(WAITING);
    let hands = Hands::new(connector.clone(), end_sender);
    let view = Arc::new(ArcSwap::from_pointee(View::take(&state, clock, ledger.tail())));
    let handle =
        Handle { commands: command_sender, hints: hint_sender, view: view.clone(), cell: cell.clone() };
    let logins = settings.nodes.iter().map(|node| (node.spec.name.clone(), node.login.clone())).collect();
    let driver = Driver {
        state,
        cell,
        connector,
        clock,
        ledger,
        state_dir: settings.state_dir,
        remembered,
        logins,
        login: settings.login,
        watchers: BTreeMap::new(),
        gauges,
        hinted: BTreeMap::new(),
        seen,
        sights,
        hints,
        commands,
        hands,
        ends,
        unasked: Vec::new(),
        view,
        wake_at: None,
        first: settings.nodes.into_iter().map(|node| Event::Added(node.spec)).collect(),
    };
    Ok((handle, driver))
}

impl Driver {
    /// Runs until `stop` is done, then ends every probe. Belongs on the control thread's own runtime: a starved probe is
    /// a false alarm.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        for event in std::mem::take(&mut self.first) {
            self.handle(event).await;
        }
        loop {
            let wake = self.wake_at.map(|at| self.clock.instant(at));
            // Every branch is cancel safe: receivers, a timer, and a future that is polled by reference.
            let next = tokio::select! {
                () = &mut stop => Next::Stop,
                Some(observation) = self.sights.recv() => Next::Event(Event::Observed(observation)),
                Some((node, hint)) = self.hints.recv() => match self.is_news(node) {
                    true => Next::Event(Event::Hinted(node, hint)),
                    false => continue,
                },
                Some(ended) = self.ends.recv() => Next::Event(Event::Ended(ended)),
                Some(command) = self.commands.recv() => Next::Command(command),
                () = wait_for(wake) => Next::Event(Event::Woke),
            };
            match next {
                Next::Stop => return,
                Next::Event(event) => {
                    self.handle(event).await;
                }
                Next::Command(command) => self.obey(command).await,
            }
        }
    }

    /// A crowd of clients gives the same hint at once; one in [`ECHO`] is worth a step.
    fn is_news(&mut self, node: NodeId) -> bool {
        let now = self.clock.now();
        let news = self.watchers.contains_key(&node)
            && self.hinted.get(&node).is_none_or(|last| now.saturating_sub(*last) >= ECHO);
        if news {
            self.hinted.insert(node, now);
        }
        news
    }

    async fn obey(&mut self, command: Command) {
        let answer = self.answer(command.request).await;
        // Whoever asked may have stopped waiting.
        let _ = command.answer.send(answer);
    }

    async fn answer(&mut self, request: Request) -> Result<(), ControlError> {
        match request {
            Request::Add(node) => self.add(node).await,
            Request::Remove(name) => {
                let id = self.id(&name)?;
                self.handle(Event::Removed(id)).await;
                self.logins.remove(&*name);
                Ok(())
            }
            Request::Change(name, change) => {
                let id = self.id(&name)?;
                self.handle(Event::Changed(id, change)).await;
                self.rewatch(id);
                Ok(())
            }
            Request::Login(name, login) => {
                let id = self.id(&name)?;
                self.logins.insert(name.into(), login);
                if let Some(member) = self.state.member(id) {
                    let (name, address) = (member.spec.name.clone(), member.spec.address.clone());
                    self.watch(id, &name, address);
                }
                Ok(())
            }
            Request::Switchover(to) => {
                let to = to.map(|name| self.id(&name)).transpose()?;
                self.ask_for(event::Request::Switchover { to }).await
            }
            Request::Failover(to, allow_loss) => {
                let to = to.map(|name| self.id(&name)).transpose()?;
                self.ask_for(event::Request::Failover { to, allow_loss }).await
            }
            Request::Pause(paused) => self.ask_for(event::Request::Pause(paused)).await,
            Request::Cancel => self.ask_for(event::Request::Cancel).await,
            Request::Reload(policy) => {
                self.handle(Event::Reloaded(policy)).await;
                Ok(())
            }
        }
    }

    async fn ask_for(&mut self, request: event::Request) -> Result<(), ControlError> {
        match self.handle(Event::Asked(request)).await {
            Some(refusal) => Err(ControlError::Refused(refusal)),
            None => Ok(()),
        }
    }

    async fn add(&mut self, node: NodeSettings) -> Result<(), ControlError> {
        let name = node.spec.name.clone();
        if self.state.named(&name).is_some() {
            return Err(ControlError::Refused(format!("node \"{name}\" already exists")));
        }
        self.logins.insert(name.clone(), node.login);
        let refusal = self.handle(Event::Added(node.spec)).await;
        if self.state.named(&name).is_some() {
            return Ok(());
        }
        self.logins.remove(&name);
        Err(ControlError::Refused(refusal.unwrap_or_else(|| format!("node \"{name}\" was not added"))))
    }

    fn id(&self, name: &str) -> Result<NodeId, ControlError> {
        let unknown = || ControlError::UnknownNode(name.to_owned());
        self.state.named(name).map(|member| member.id).ok_or_else(unknown)
    }

    /// One step and everything that follows from it. Returns the first refusal it wrote down.
    async fn handle(&mut self, event: Event) -> Option<String> {
        let refusal = self.turn(event).await;
        // What could not even be asked for is known at once.
        while let Some(ended) = self.unasked.pop() {
            self.turn(Event::Ended(ended)).await;
        }
        refusal
    }

    async fn turn(&mut self, event: Event) -> Option<String> {
        let output = step(&mut self.state, self.clock.now(), event);
        let Output { snapshot, journal, actions, wake_at } = output;
        self.remember().await;
        if let Some(snapshot) = snapshot {
            let risen = snapshot.epoch > self.cell.load().epoch;
            let taken = if risen { self.cell.publish(snapshot) } else { self.cell.refresh(snapshot) };
            if !taken {
                tracing::error!("a snapshot was refused: somebody else publishes into the same cell");
            }
        }
        let refusal =
            journal.iter().find(|entry| entry.kind == Kind::Refused).map(|entry| entry.text.clone());
        self.ledger.write(journal);
        for action in actions {
            self.act(action);
        }
        self.wake_at = wake_at;
        self.view.store(Arc::new(View::take(&self.state, self.clock, self.ledger.tail())));
        refusal
    }

    /// What must survive a restart is on disk before anything that depends on it is published. A disk that fails does
    /// not stop the cluster: it is reported, and tried again with the next step.
    async fn remember(&mut self) {
        let (Some(directory), memory) = (&self.state_dir, self.state.memory()) else { return };
        let Some(memory) = memory.filter(|memory| self.remembered.as_ref() != Some(memory)) else { return };
        let directory = directory.clone();
        let copy = memory.clone();
        let saved = tokio::task::spawn_blocking(move || memory::save(&directory, &copy)).await;
        match saved {
            Ok(Ok(())) => self.remembered = Some(memory),
            Ok(Err(error)) => tracing::error!(%error, "the cluster's timeline could not be written down"),
            Err(error) => tracing::error!(%error, "the cluster's timeline could not be written down"),
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Watch { node, name, address } => self.watch(node, &name, address),
            Action::Forget(node) => {
                self.watchers.remove(&node);
                self.hinted.remove(&node);
                self.hands.forget(node);
            }
            Action::Do { plan, node, deed, limit } => {
                if let Err(ended) = self.ask(plan, node, deed, limit) {
                    self.unasked.push(ended);
                }
            }
            Action::Probe { node, at } => {
                let limit = self.state.policy().health_check_timeout;
                if let Some((watcher, _)) = self.watchers.get(&node) {
                    watcher.order(Order { at, limit });
                }
            }
        }
    }

    fn watch(&mut self, node: NodeId, name: &str, address: Address) {
        let limit = self.state.policy().health_check_timeout;
        let login = self.logins.get(name).unwrap_or(&self.login).clone();
        let target = Target { address, login, statement_timeout: limit };
        // The old one voids what it found before the new one finds anything.
        self.watchers.remove(&node);
        let (gauges, connector) = (self.gauges.clone(), self.connector.clone());
        let sampler = Sampler::start(gauges, node, target.clone(), connector, self.clock, limit);
        let probe = Probe::new(node, target, self.connector.clone(), self.clock);
        let first = Order { at: self.clock.now(), limit };
        let watcher = Watcher::start(probe, first, self.clock, self.seen.clone());
        self.watchers.insert(node, (watcher, sampler));
    }

    /// Nothing is done to a server before why is on disk.
    fn ask(&mut self, plan: u64, node: NodeId, deed: Deed, limit: Duration) -> Result<(), Ended> {
        let cannot = |text: &str| Ended { plan, node, word: deed.word(), outcome: Err(text.into()) };
        if self.state_dir.is_none() || self.remembered != self.state.memory() {
            return Err(cannot("the plan could not be written down"));
        }
        let other = match &deed {
            Deed::Forward { from: other, .. } | Deed::Follow { to: other, .. } => self.target(*other, limit),
            _ => None,
        };
        let target = self.target(node, limit).ok_or_else(|| cannot("it is no node any more"))?;
        self.hands.ask(node, Job { plan, deed, limit, target, other })
    }

    fn target(&self, node: NodeId, limit: Duration) -> Option<Target> {
        let spec = &self.state.member(node)?.spec;
        let login = self.logins.get(&spec.name).unwrap_or(&self.login).clone();
        Some(Target { address: spec.address.clone(), login, statement_timeout: limit })
    }

    /// A node whose address may have changed is looked at where it is now.
    fn rewatch(&mut self, id: NodeId) {
        let Some(member) = self.state.member(id) else { return };
        if member.facts.is_none() {
            let (name, address) = (member.spec.name.clone(), member.spec.address.clone());
            self.watch(id, &name, address);
        }
    }
}

/// Ends at `wake`; never without one. Cancel safe.
async fn wait_for(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
