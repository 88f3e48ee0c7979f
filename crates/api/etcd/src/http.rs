//! The endpoints for probes, scrapers and people: plain HTTP on the port of the gRPC services.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | whether no alarm is raised and a linearizable read succeeds, in JSON; `?serializable=true` asks this replica alone, `?exclude=NOSPACE` passes over an alarm |
//! | `/livez` | whether this replica answers at all |
//! | `/readyz` | whether the cluster answers through this replica |
//! | `/version` | the version of etcd whose behaviour the face has |
//! | `/metrics` | counters and gauges, in Prometheus' text, or OpenMetrics if that is accepted |
//!
//! Of these, `/livez` and `/readyz` take `?verbose`, `?exclude=CHECK`, and a check's name behind a slash.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use quorate_kv::error::Error as StoreError;
use quorate_kv::request::Query;
use quorate_kv::service::Alarm;

use crate::convert;
use crate::error::Error;
use crate::face::{ETCD_VERSION, Face};
use crate::grpc::Payload;
use crate::metrics;
use crate::proto::etcdserverpb as wire;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PLAIN_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One thing that `/livez` and `/readyz` look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    const LIVE: &[Check] = &[Check::SerializableRead];
    const READY: &[Check] = &[
        Check::DataCorruption,
        Check::SerializableRead,
        Check::LinearizableRead,
        Check::NonLearner,
    ];

    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    async fn run(self, face: &Face) -> Result<(), Error> {
        match self {
            Check::SerializableRead => read(face, true).await,
            Check::LinearizableRead => read(face, false).await,
            Check::DataCorruption => match raised(face, |alarm| alarm == Alarm::Corrupt).await? {
                Some(alarm) => Err(Error::Alarmed(name_of(alarm))),
                None => Ok(()),
            },
            Check::NonLearner if face.status().await?.is_learner => Err(Error::Learner),
            Check::NonLearner => Ok(()),
        }
    }
}

/// Answers one request.
pub(crate) async fn respond(
    face: &Arc<Face>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response<Payload> {
    let path = uri.path();
    let query = uri.query().unwrap_or("");
    let (endpoint, check) = match path[1.min(path.len())..].split_once('/') {
        Some((endpoint, check)) => (endpoint, Some(check)),
        None => (&path[1.min(path.len())..], None),
    };
    let checks = match (endpoint, check) {
        ("livez", _) => Check::LIVE,
        ("readyz", _) => Check::READY,
        ("health" | "version" | "metrics", None) => &[],
        _ => return not_found(path),
    };
    if method != Method::GET {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is allowed\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    match (endpoint, check) {
        ("health", _) => health(face, query).await,
        ("version", _) => version(),
        ("metrics", _) => metrics(face, headers).await,
        (_, None) => probe(face, endpoint, checks.iter().copied(), query).await,
        (_, Some(name)) => match checks.iter().find(|check| check.name() == name) {
            Some(check) => probe(face, endpoint, std::iter::once(*check), query).await,
            None => not_found(path),
        },
    }
}

async fn health(face: &Face, query: &str) -> Response<Payload> {
    let serializable = has(query, "serializable", "true");
    let verdict = judge(face, query, serializable).await;
    face.counters.count_health_check(verdict.is_ok());
    match verdict {
        Ok(()) => text(StatusCode::OK, JSON, r#"{"health":"true","reason":""}"#),
        Err(reason) => {
            tracing::warn!(reason, "a health check failed");
            // The reasons are this program's own words, in ASCII: for those, Rust's escapes are JSON's.
            let json = format!("{{\"health\":\"false\",\"reason\":{reason:?}}}");
            text(StatusCode::SERVICE_UNAVAILABLE, JSON, json)
        }
    }
}

/// Why the node is not healthy, in etcd's words.
async fn judge(face: &Face, query: &str, serializable: bool) -> Result<(), String> {
    let failed = |error: Error| format!("RANGE ERROR:{error}");
    let is_minded = |alarm| !has(query, "exclude", name_of(alarm));
    if let Some(alarm) = raised(face, is_minded).await.map_err(failed)? {
        return Err(format!("ALARM {}", name_of(alarm)));
    }
    if face.status().await.map_err(failed)?.leader.is_none() && !serializable {
        return Err("RAFT NO LEADER".to_owned());
    }
    read(face, serializable).await.map_err(failed)
}

/// Runs the checks that are not excluded, and says how each went if it was asked or if one failed.
async fn probe(
    face: &Face,
    endpoint: &str,
    checks: impl Iterator<Item = Check>,
    query: &str,
) -> Response<Payload> {
    let mut report = String::new();
    let mut passed = true;
    for check in checks {
        let name = check.name();
        if has(query, "exclude", name) {
            continue;
        }
        match check.run(face).await {
            Ok(()) => report.push_str(&format!("[+]{name} ok\n")),
            Err(error) => {
                passed = false;
                report.push_str(&format!("[-]{name} failed: {error}\n"));
            }
        }
    }
    face.counters.count_health_check(passed);
    if !passed {
        tracing::warn!(endpoint, report, "a probe failed");
        return text(StatusCode::SERVICE_UNAVAILABLE, TEXT, report);
    }
    let is_verbose = query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose="));
    let report = if is_verbose { report + "ok\n" } else { "ok\n".to_owned() };
    text(StatusCode::OK, TEXT, report)
}

/// The first alarm, of whichever member, that is of a kind; as far as this node knows.
async fn raised(face: &Face, is_of_kind: impl Fn(Alarm) -> bool) -> Result<Option<Alarm>, Error> {
    let members = face.members(false).await?.members;
    let mut raised = members.iter().flat_map(|member| member.info.alarms());
    Ok(raised.find(|alarm| is_of_kind(*alarm)))
}

/// The name that etcd gives it.
fn name_of(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::NoSpace | Alarm::DiskFull => "NOSPACE",
        Alarm::Corrupt => "CORRUPT",
    }
}

/// Reads a key that need not be there.
async fn read(face: &Face, serializable: bool) -> Result<(), Error> {
    let request = wire::RangeRequest {
        key: "health".into(),
        serializable,
        keys_only: true,
        ..Default::default()
    };
    let query = Query::Range(convert::range_request(request)?);
    let timeout = Duration::from_millis(face.config.health_timeout_ms);
    match tokio::time::timeout(timeout, face.query(query, serializable)).await {
        // Whoever refuses somebody who didn't say who asks is well.
        Ok(Err(Error::Store(StoreError::UserEmpty))) => Ok(()),
        Ok(answer) => answer.map(|_| ()),
        Err(_) => Err(StoreError::TimedOut.into()),
    }
}

fn version() -> Response<Payload> {
    let json = format!(r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{ETCD_VERSION}"}}"#);
    text(StatusCode::OK, JSON, json)
}

async fn metrics(face: &Face, headers: &HeaderMap) -> Response<Payload> {
    let status = match face.status().await {
        Ok(status) => status,
        Err(error) => return text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{error}\n")),
    };
    let open_metrics = metrics::open_metrics(&metrics::Shown {
        member: face.config.member_id,
        counters: &face.counters,
        watched: &face.lookout.watched,
        runtime: &face.runtime,
        status: &status,
    });
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|kind| kind.to_str().ok());
    if accepted.any(|kinds| kinds.contains("application/openmetrics-text")) {
        text(StatusCode::OK, OPEN_METRICS, open_metrics)
    } else {
        text(StatusCode::OK, PLAIN_METRICS, metrics::plain_text(&open_metrics))
    }
}

fn not_found(path: &str) -> Response<Payload> {
    let hint = format!(
        "nothing at {path}; there are /health, /livez, /readyz, /version and /metrics, \
         the gRPC services of etcd v3 over HTTP/2, and the same in JSON below /v3/\n"
    );
    text(StatusCode::NOT_FOUND, TEXT, hint)
}

/// Whether a query string has this pair.
fn has(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|pair| pair.split_once('=') == Some((name, value)))
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<String>) -> Response<Payload> {
    let mut response = Response::new(Payload::plain(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
