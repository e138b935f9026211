//! The control thread: controller, janitor, HTTP, signals. Traffic cannot starve it: it has an event loop of its own.

use crate::app::entrance::Entrance;
use crate::app::faces::Faces;
use crate::app::handover::{self, Handover, Inherited};
use crate::app::keeper::{Keeper, max_servers};
use crate::app::orders::{self, Order};
use crate::app::{House, StartError, console, places, plan};
use crate::config::file::{self, Loaded};
use crate::config::reload;
use crate::config::settings::node::Node;
use pgherd_admin::console::act::Shutdown;
use pgherd_controller::driver::Driver;
use pgherd_failover::event::Change;
use pgherd_proxy::sweep;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

/// How long start-up waits for the first topology before it says so and goes on waiting.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// How often a drain looks whether everybody has left.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Time sessions have to say goodbye after their sockets were to be cut.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Runs until a signal ends the process.
pub fn run(house: Arc<House>, driver: Driver) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no event loop for the control thread");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(house, driver));
    // Tasks that still sleep are not waited for.
    runtime.shutdown_background();
    code
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Ends with the next signal that asks for an end. Cancel safe.
    async fn stop(&mut self) {
        // Each branch is cancel safe: a signal that is not taken now is taken the next time.
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

async fn serve(house: Arc<House>, driver: Driver) -> ExitCode {
    let settings = house.settings.read().clone();
    let mut inherited = house.handover.as_ref().map_or_else(Inherited::default, |handover| handover.ask());
    let (bound, mut signals, mut hangup) =
        match (places::bind(&settings, &mut inherited), Signals::new(), signal(SignalKind::hangup())) {
            (Ok(bound), Ok(signals), Ok(hangup)) => (bound, signals, hangup),
            (Err(error), ..) => return fail(&error),
            (_, Err(error), _) | (.., Err(error)) => return fail(&error),
        };
    let ready = Arc::new(AtomicBool::new(false));
    let (entry, thinking) = (CancellationToken::new(), CancellationToken::new());
    let controlling = tokio::spawn(driver.run(thinking.clone().cancelled_owned()));
    let sweeping = tokio::spawn(sweep::run(house.shared.clone()));
    house.consoles.spawn(console::statistics::run(house.clone()));
    let (http, lent) = match faces(&house, &settings, &ready, &mut inherited).await {
        Ok(faces) => faces,
        Err(error) => return fail(&error),
    };
    let entrance = match Entrance::open(house.clone(), bound, entry.clone()) {
        Ok(entrance) => entrance,
        Err(error) => return fail(&error),
    };
    drop(inherited);
    let mut peers = Handover::spawn(&house);
    let announcing = tokio::spawn(announce(house.clone(), ready.clone()));
    let mut orders = house.orders.take();
    let how = loop {
        // Every branch is cancel safe: what is not taken now is taken the next time.
        tokio::select! {
            _ = hangup.recv() => drop(reload_settings(&house, &entrance, &ready).await),
            () = signals.stop() => break Shutdown::WaitForServers,
            Some(order) = next(&mut orders) => {
                if let Some(how) = orders::carry_out(order, &house, &entrance, &ready).await {
                    break how;
                }
            }
        }
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    // The controller stops first and never starts anything while draining; listeners close; sessions leave as they become idle.
    thinking.cancel();
    entry.cancel();
    entrance.close().await;
    drop(lent);
    ready.store(false, Ordering::Release);
    if house.handover.as_ref().is_some_and(|handover| handover.given().load(Ordering::Acquire)) {
        // Who asks on the shared port is to be answered by the process that stays.
        http.cancel();
        handover::finish_arrivals(&house).await;
    }
    announcing.abort();
    let _ = controlling.await;
    match how {
        Shutdown::Immediate => cut(&house, "shut down at once").await,
        Shutdown::WaitForServers => drain(&house, &mut signals, &mut orders).await,
        Shutdown::WaitForClients => {
            until_alone(&house, &mut signals, &mut orders).await;
            drain(&house, &mut signals, &mut orders).await;
        }
    }
    sweeping.abort();
    peers.shutdown().await;
    house.consoles.close();
    // So that they can be told.
    tokio::time::sleep(DRAIN_LOOK).await;
    http.cancel();
    tracing::info!("pgherd ends");
    ExitCode::SUCCESS
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    tracing::error!(%error, "pgherd cannot start");
    ExitCode::FAILURE
}

async fn faces(
    house: &Arc<House>,
    settings: &crate::config::settings::Settings,
    ready: &Arc<AtomicBool>,
    inherited: &mut Inherited,
) -> Result<(CancellationToken, Option<Arc<OwnedFd>>), StartError> {
    let stop = CancellationToken::new();
    let mut lent = None;
    if let Some(address) = &settings.api.listen {
        let fail = |error| StartError::Io(format!("cannot listen on {address} (api)"), error);
        let own = places::resolve(address).map_err(fail)?.first().map(|at| (*at).into());
        let listener = match own.and_then(|own| inherited.take(&own)) {
            Some(socket) => tokio::net::TcpListener::from_std(socket.into()),
            None => tokio::net::TcpListener::bind((address.host.as_str(), address.port)).await,
        }
        .map_err(fail)?;
        lent = house.handover.as_ref().and_then(|handover| handover.lend(listener.as_fd()));
        let at = listener.local_addr().map_or_else(|_| address.to_string(), |at| at.to_string());
        tracing::info!(listener = %"api", at, "listening");
        let source = Arc::new(Faces::new(house.clone(), ready.clone()));
        tokio::spawn(pgherd_admin::http::serve(listener, source, stop.clone().cancelled_owned()));
    }
    Ok((stop, lent))
}

/// Tells the log and systemd when the topology is known.
async fn announce(house: Arc<House>, ready: Arc<AtomicBool>) {
    loop {
        match house.controller.known(FIRST_LOOK).await {
            Ok(snapshot) => {
                ready.store(true, Ordering::Release);
                let primary = snapshot.primary_node().map(|node| node.name.to_string());
                let took = house.started.elapsed().as_millis();
                tracing::info!(
                    primary,
                    replicas = snapshot.eligible_replicas().count(),
                    "ready in {took} ms"
                );
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
                return watchdog().await;
            }
            Err(error) => tracing::warn!(%error, "the topology is not known yet"),
        }
    }
}

/// Pets systemd's watchdog, when there is one.
async fn watchdog() {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(within / 2);
    loop {
        ticks.tick().await;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }
}

async fn next(orders: &mut Option<Receiver<Order>>) -> Option<Order> {
    match orders {
        Some(orders) => orders.recv().await,
        None => std::future::pending().await,
    }
}

/// Lets everybody stay as long as they like; a signal or another order ends that.
async fn until_alone(house: &House, signals: &mut Signals, orders: &mut Option<Receiver<Order>>) {
    let cards = &house.shared.cards;
    cards.close();
    tracing::info!(sessions = cards.count(), "waiting for clients to leave");
    while cards.count() > 0 {
        // Every branch is cancel safe.
        tokio::select! {
            () = signals.stop() => return,
            () = orders::end_now(orders) => return,
            () = tokio::time::sleep(DRAIN_LOOK) => {}
        }
    }
}

/// Idle sessions leave, busy ones finish their transaction; after the grace period, or when asked a second time, sockets are cut. Always ends.
async fn drain(house: &House, signals: &mut Signals, orders: &mut Option<Receiver<Order>>) {
    let cards = &house.shared.cards;
    let grace = house.settings.read().server.shutdown_grace;
    tracing::info!(sessions = cards.count(), grace = ?grace, "draining");
    sweep::drain(&house.shared, false);
    let until = Instant::now() + grace;
    let mut why = "grace period is over";
    while cards.count() > 0 && Instant::now() < until {
        tokio::select! {
            () = signals.stop() => {
                why = "asked a second time";
                break;
            }
            () = orders::end_now(orders) => {
                why = "asked a second time";
                break;
            }
            () = tokio::time::sleep(DRAIN_LOOK) => sweep::drain(&house.shared, false),
        }
    }
    if cards.count() > 0 {
        cut(house, why).await;
    }
}

/// Ends every session, whatever it does.
async fn cut(house: &House, why: &str) {
    let cards = &house.shared.cards;
    tracing::warn!(sessions = cards.count(), "{why}: sessions are cut");
    sweep::drain(&house.shared, true);
    let until = Instant::now() + LAST_WORDS;
    while cards.count() > 0 && Instant::now() < until {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// Reads the settings again and swaps what can be swapped.
///
/// # Errors
/// Any fault; the old settings stay in force then.
pub(super) async fn reload_settings(
    house: &Arc<House>,
    entrance: &Entrance,
    ready: &AtomicBool,
) -> Result<(), StartError> {
    // Before the topology is known a reload is not told: its end would say that pgherd is ready.
    let told = ready.load(Ordering::Acquire);
    let began = sd_notify::NotifyState::monotonic_usec_now();
    if let (Ok(began), true) = (began, told) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading, began]);
    }
    let env = crate::config::environment::Environment::of_process();
    let done = match file::load(house.path.as_deref(), &env) {
        Ok(loaded) => put_in_force(house, entrance, loaded).await,
        Err(report) => Err(StartError::Faults(report.render())),
    };
    house.reloads.note(done.is_ok());
    if let Err(error) = &done {
        tracing::error!(%error, "settings were not reloaded; the old ones stay in force");
    }
    if told {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }
    done
}

/// Changes one setting until the next reload.
///
/// # Errors
/// Any fault; the old settings stay in force then.
pub(super) async fn change(
    house: &Arc<House>,
    entrance: &Entrance,
    change: &console::setting::Change,
) -> Result<(), StartError> {
    let present = house.settings.read().clone();
    match console::setting::apply(&present, change) {
        Ok(loaded) => put_in_force(house, entrance, loaded).await,
        Err(report) => Err(StartError::Faults(report.render())),
    }
}

async fn put_in_force(house: &Arc<House>, entrance: &Entrance, loaded: Loaded) -> Result<(), StartError> {
    // Through the log, not beside it: whoever reads it may expect JSON.
    let warnings = loaded.report.render();
    if !warnings.is_empty() {
        tracing::warn!(warnings, "the settings are doubtful");
    }
    let (old, new) = (house.settings.read().clone(), Arc::new(loaded.settings));
    let changes = reload::compare(&old, &new);
    for change in &changes {
        tracing::info!(key = %change.key, "setting changed");
    }
    if let Some(notice) = reload::restart_notice(&changes) {
        tracing::warn!("{notice}");
    }
    // TLS files are read again even when no setting changed: a renewed certificate has the same name.
    let keeper = Arc::new(Keeper::new(new.clone())?);
    let door = keeper.door(&house.shared.cell)?;
    if let Some(what) = door.users.changes(&house.door.settings().users) {
        tracing::info!(users = what, "users changed");
    }
    entrance.follow(&new).await?;
    house.encryption.read(&new)?;
    keeper.inherit(&house.keeper.read());
    house.door.reload(door);
    house.logging.set_level(new.server.log_level);
    house.shared.reload(keeper.clone());
    house.shared.pools.redraw(keeper.clone(), max_servers(&new));
    *house.keeper.write() = keeper;
    *house.settings.write() = new.clone();
    follow_nodes(house, &old, &new).await;
    tracing::info!(changes = changes.len(), "settings reloaded");
    Ok(())
}

/// What else changed about a node that stays where it is.
fn changes(old: &Node, new: &Node) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.region != new.region {
        changes.push(Change::Region(new.region.as_str().into()));
    }
    if plan::limits(old) != plan::limits(new) {
        changes.push(Change::Limits(plan::limits(new)));
    }
    changes
}

/// Nodes that were added, removed or changed, and the controller's policy.
async fn follow_nodes(
    house: &House,
    old: &crate::config::settings::Settings,
    new: &crate::config::settings::Settings,
) {
    let controller = &house.controller;
    let tell = |done: Result<(), pgherd_controller::error::ControlError>, what: &str| {
        if let Err(error) = done {
            tracing::warn!(%error, "reload: {what}");
        }
    };
    tell(controller.reload(plan::policy(new)).await, "policy");
    for node in &old.nodes {
        let same = new.nodes.iter().find(|other| other.name == node.name);
        if same.is_none_or(|same| plan::address(same) != plan::address(node)) {
            tell(controller.remove_node(&node.name).await, &node.name);
        }
    }
    for node in &new.nodes {
        match old.nodes.iter().find(|other| other.name == node.name) {
            Some(same) if plan::address(same) == plan::address(node) => {
                if same.weight != node.weight {
                    tell(controller.set_weight(&node.name, node.weight).await, &node.name);
                }
                if same.tags != node.tags {
                    tell(controller.set_tags(&node.name, plan::tags(&node.tags)).await, &node.name);
                }
                for change in changes(same, node) {
                    tell(controller.change(&node.name, change).await, &node.name);
                }
                if plan::login(same) != plan::login(node) {
                    tell(controller.set_login(&node.name, plan::login(node)).await, &node.name);
                }
            }
            _ => tell(controller.add_node(plan::node(node)).await, &node.name),
        }
    }
}
