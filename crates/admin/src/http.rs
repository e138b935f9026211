//! The HTTP server: one handler, because the method and the first part of the path decide everything.

use crate::action::{Asking, Done, Order};
use crate::document;
use crate::explain::Question;
use crate::guard::{GuardedListener, MAX_BODY_BYTES, Visitor};
use crate::path::{Endpoint, Health, max_lag};
use crate::source::Source;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use pgherd_metrics::expose;
use pgherd_topology::node::Node;
use pgherd_topology::snapshot::Snapshot;
use serde_json::Value;
use std::future::IntoFuture;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long visitors may go on after the server was told to stop.
pub const STOP_TIME: Duration = Duration::from_secs(2);

/// What Patroni answers to an action it does not have; its command line looks for these words.
const UNSUPPORTED: &str = "Server does not support this operation";

/// Serves HTTP/1 on `listener` until `stop` is done, then lets open requests finish within [`STOP_TIME`]. Whoever is
/// still connected after that, or when this future is dropped, is ended by the guard's limits. Errors: those of the
/// listening socket; a visitor's are his own.
pub async fn serve(
    listener: TcpListener,
    source: Arc<dyn Source>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (tell, told) = oneshot::channel::<()>();
    let router = Router::new().fallback(answer).with_state(source);
    let router = router.into_make_service_with_connect_info::<Visitor>();
    let server = axum::serve(GuardedListener::new(listener), router).with_graceful_shutdown(async {
        // An error means that `serve` itself was dropped: stop as well.
        let _ = told.await;
    });
    let mut server = std::pin::pin!(server.into_future());
    tokio::select! {
        ended = &mut server => return ended,
        () = stop => {}
    }
    // The receiver lives in the server, which has not ended.
    let _ = tell.send(());
    tokio::time::timeout(STOP_TIME, server).await.unwrap_or(Ok(()))
}

async fn answer(
    State(source): State<Arc<dyn Source>>,
    ConnectInfo(visitor): ConnectInfo<Visitor>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let endpoint = Endpoint::of(head.uri.path());
    let query = head.uri.query().unwrap_or_default();
    match head.method {
        Method::GET => get(source, endpoint, query).await,
        Method::HEAD | Method::OPTIONS => bare(bare_status(&*source, endpoint, query)),
        Method::POST if endpoint == Endpoint::Explain => explain(source, &head.headers, body).await,
        Method::POST if endpoint == Endpoint::Switchover => {
            act(source, &visitor, &head.headers, body, Order::switchover).await
        }
        Method::POST if endpoint == Endpoint::Failover => {
            act(source, &visitor, &head.headers, body, Order::failover).await
        }
        _ => text(StatusCode::NOT_IMPLEMENTED, "text/html", UNSUPPORTED.to_string()),
    }
}

async fn get(source: Arc<dyn Source>, endpoint: Endpoint, query: &str) -> Response<Body> {
    match endpoint {
        Endpoint::Liveness => bare(yes_or_unavailable(source.alive())),
        Endpoint::Readiness => bare(yes_or_unavailable(source.ready())),
        Endpoint::Metrics => metrics(source).await,
        Endpoint::Cluster => {
            let document = document::cluster(&source.snapshot(), &source.facts(), source.members());
            json(StatusCode::OK, &document)
        }
        Endpoint::History => json(StatusCode::OK, &document::history(&source.history())),
        Endpoint::Explain => {
            sentence(StatusCode::METHOD_NOT_ALLOWED, "POST the statements, as application/json".into())
        }
        Endpoint::Node => node(&*source, StatusCode::OK),
        Endpoint::Health(health) => checked(&*source, health, query),
        // As in Patroni: whatever has no answer of its own shows the node.
        Endpoint::Switchover | Endpoint::Failover | Endpoint::Unserved | Endpoint::Unknown => {
            node(&*source, StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// HEAD and OPTIONS exist for health checks only; everywhere else they are "not available", as in Patroni.
fn bare_status(source: &dyn Source, endpoint: Endpoint, query: &str) -> StatusCode {
    match endpoint {
        Endpoint::Health(health) => health_status(&source.snapshot(), health, query),
        Endpoint::Liveness
        | Endpoint::Readiness
        | Endpoint::Metrics
        | Endpoint::Cluster
        | Endpoint::History
        | Endpoint::Explain
        | Endpoint::Switchover
        | Endpoint::Failover
        | Endpoint::Node
        | Endpoint::Unserved
        | Endpoint::Unknown => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The first replica that a check with this query is content with.
fn replica<'s>(snapshot: &'s Snapshot, query: &str) -> Option<&'s Node> {
    let limit = max_lag(query).unwrap_or(u64::MAX);
    // A replica of unknown lag passes only where no limit was asked for.
    let mut fit = snapshot.eligible_replicas().filter(|node| node.lag_bytes.unwrap_or(u64::MAX) <= limit);
    fit.next().map(|node| &**node)
}

/// The answer to a health check, with the document of the node that stands for it.
fn checked(source: &dyn Source, health: Health, query: &str) -> Response<Body> {
    let snapshot = source.snapshot();
    let status = health_status(&snapshot, health, query);
    let shown = match health {
        Health::Replica => replica(&snapshot, query),
        Health::ReadOnly if snapshot.primary.is_none() => replica(&snapshot, query),
        Health::Primary | Health::StandbyLeader | Health::ReadOnly | Health::Running => None,
    };
    json(status, &document::node(&snapshot, &source.facts(), source.ready(), shown))
}

fn health_status(snapshot: &Snapshot, health: Health, query: &str) -> StatusCode {
    let replica = || replica(snapshot, query).is_some();
    let primary = snapshot.primary_node().is_some();
    yes_or_unavailable(match health {
        Health::Primary => primary,
        // Standby clusters are not served yet.
        Health::StandbyLeader => false,
        Health::Replica => replica(),
        Health::ReadOnly => primary || replica(),
        Health::Running => document::any_node_runs(snapshot),
    })
}

async fn metrics(source: Arc<dyn Source>) -> Response<Body> {
    // Thousands of series take milliseconds, which the probes on this thread cannot spare.
    match tokio::task::spawn_blocking(move || source.metrics()).await {
        Ok(rendered) => text(StatusCode::OK, expose::CONTENT_TYPE, rendered),
        Err(error) => {
            tracing::error!(%error, "could not render the metrics");
            bare(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Whoever may ask for it waits until it is done.
async fn act(
    source: Arc<dyn Source>,
    visitor: &Visitor,
    headers: &HeaderMap,
    body: Body,
    read: fn(&[u8]) -> Result<Order, Done>,
) -> Response<Body> {
    let admitted = Asking::read(visitor.peer.ip(), headers).and_then(|asking| source.admits(&asking));
    if let Err(denied) = admitted {
        let (status, words) = denied.answer();
        let mut response = text(status, "text/html", words.to_owned());
        if status == StatusCode::UNAUTHORIZED {
            let realm = axum::http::HeaderValue::from_static("Basic realm=\"pgherd\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, realm);
        }
        return response;
    }
    let Ok(bytes) = axum::body::to_bytes(body, MAX_BODY_BYTES).await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "text/html", "the body is too long".into());
    };
    let (status, words) = match read(&bytes) {
        Ok(order) => {
            visitor.wait_longer();
            source.act(order).await
        }
        Err(refused) => refused,
    };
    text(StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), "text/html", words)
}

/// Asked for by its content type, so that no page in somebody's browser can ask it of a pgherd nearby.
async fn explain(source: Arc<dyn Source>, headers: &HeaderMap, body: Body) -> Response<Body> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().is_none_or(|kind| !kind.trim().eq_ignore_ascii_case("application/json")) {
        return sentence(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the question must be application/json".into());
    }
    let Ok(bytes) = axum::body::to_bytes(body, MAX_BODY_BYTES).await else {
        let limit = format!("the question is longer than {MAX_BODY_BYTES} bytes, or did not come");
        return sentence(StatusCode::PAYLOAD_TOO_LARGE, limit);
    };
    let question = match Question::read(&bytes) {
        Ok(question) => question,
        Err(why) => return sentence(StatusCode::BAD_REQUEST, why),
    };
    match source.explain(question).await {
        Ok(explanation) => json(StatusCode::OK, &explanation.document()),
        Err(why) => sentence(StatusCode::BAD_REQUEST, why),
    }
}

fn node(source: &dyn Source, status: StatusCode) -> Response<Body> {
    json(status, &document::node(&source.snapshot(), &source.facts(), source.ready(), None))
}

fn yes_or_unavailable(yes: bool) -> StatusCode {
    if yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn json(status: StatusCode, document: &Value) -> Response<Body> {
    text(status, "application/json", document.to_string())
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    respond(status, Some(content_type), Body::from(body))
}

fn sentence(status: StatusCode, words: String) -> Response<Body> {
    text(status, "text/plain", words)
}

fn bare(status: StatusCode) -> Response<Body> {
    respond(status, None, Body::empty())
}

/// Every answer ends its connection: a visitor's limits are counted per connection.
fn respond(status: StatusCode, content_type: Option<&'static str>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, axum::http::HeaderValue::from_static("close"));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(content_type));
    }
    response
}

#[cfg(test)]
mod tests;
