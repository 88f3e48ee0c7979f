//! `quorate lab serve`: the catalogue as a page, with everything it needs inside the binary.
//!
//! *Follow one click*: the page asks for `/run?row=paxos&setup=…`; [`answer`] runs the protocol here, in simulation, and
//! answers what came of it; the page shows that, and `/diagram` with the same words beside it. A setup is all that decides a
//! run, and the page keeps it in its address: whoever opens the link sees the very run.
//!
//! Open first: [`answer`], then `serve/lab.js`.

mod book;

use std::convert::Infallible;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use quorate_lab::plot::{points, svg};
use quorate_lab::{Limits, Refusal, Row, Setup, catalogue};
use quorate_sim::seeds::quietly;
use quorate_trace::{Diagram, StepLog};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{explore, list, run as runs};
use crate::error::CliError;
use crate::print;

const PAGE: &str = include_str!("serve/lab.html");
const STYLE: &str = include_str!("serve/lab.css");
const SCRIPT: &str = include_str!("serve/lab.js");

/// Everything comes from here, and nothing else is asked.
const POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; \
                      connect-src 'self'; frame-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'";

/// How long one question of the page may take, before what was found until then is the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most seeds that one question tries.
const SEEDS_MAX: u64 = 1_000;
/// The most states that one question visits.
const STATES_MAX: u64 = 2_000_000;
/// The longest that a run lasts: as many requests, spread over as many nodes, as a person can look at.
const NODES_MAX: u64 = 2_000;
const REQUESTS_MAX: u32 = 10_000;

/// Show the catalogue as a page: run protocols, break them, step through what happened
#[derive(Debug, Args)]
#[command(
    after_help = "The page and all that it needs are in this binary; no network is asked for anything."
)]
pub(crate) struct ServeArgs {
    /// Where to listen; with port 0, at any that is free
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8640", value_parser = address)]
    listen: SocketAddr,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let explain = || "write a host of this machine and a port, such as 127.0.0.1:8640".to_owned();
    text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(explain)
}

/// `quorate lab serve`
pub(crate) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(async {
        let refused = |error| {
            CliError::NotDone(format!(
                "cannot listen on {}: {error}; --listen names another address, and --listen 127.0.0.1:0 takes any free port",
                args.listen
            ))
        };
        let listener = TcpListener::bind(args.listen).await.map_err(refused)?;
        let at = listener.local_addr().map_err(refused)?;
        print(&format!("The lab is open at http://{at}/ — Ctrl-C closes it.\n"))?;
        tokio::select! {
            () = accept(listener) => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(CliError::Runtime),
        }
    })
}

async fn accept(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(async move {
            let service = service_fn(respond);
            // A browser that goes away is no concern of ours.
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET {
        return Ok(response(Answer::refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered here",
        )));
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let answered = tokio::task::spawn_blocking(move || quietly(|| answer(&path, &query))).await;
    let broke = |_| {
        Answer::refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the run panicked; please report its setup",
        )
    };
    Ok(response(answered.unwrap_or_else(broke)))
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(answer.kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// What the page is answered.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn of(kind: &'static str, body: impl Into<String>) -> Self {
        Answer { status: StatusCode::OK, kind, body: body.into() }
    }

    fn json(value: &Value) -> Self {
        Answer::of("application/json", value.to_string())
    }

    fn html(body: String) -> Self {
        Answer::of("text/html; charset=utf-8", body)
    }

    fn refused(status: StatusCode, why: &str) -> Self {
        Answer { status, kind: "application/json", body: json!({ "error": why }).to_string() }
    }
}

/// The words of a question.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    fn row(&self) -> Result<&'static dyn Row, Refusal> {
        catalogue::row(&self.get("row").unwrap_or_default())
    }

    /// The setup: whole, since the page sends every number that it shows.
    fn setup(&self, row: &dyn Row) -> Result<Setup, Refusal> {
        let words = self.get("setup").unwrap_or_default();
        let setup = row.setup().read(&words, row.about())?;
        if setup.nodes > NODES_MAX || setup.requests > REQUESTS_MAX {
            let why = format!(
                "the page runs up to {NODES_MAX} nodes and {REQUESTS_MAX} requests; `quorate lab run` runs more"
            );
            return Err(Refusal::Bound(why));
        }
        Ok(setup)
    }
}

/// Answers one question of the page.
fn answer(path: &str, query: &str) -> Answer {
    let query = Query(query);
    let answered = match path {
        "/" => Ok(Answer::html(PAGE.to_owned())),
        "/lab.css" => Ok(Answer::of("text/css; charset=utf-8", STYLE)),
        "/lab.js" => Ok(Answer::of("text/javascript; charset=utf-8", SCRIPT)),
        "/catalogue" => {
            Ok(Answer::json(&json!(catalogue::rows().map(list::as_json).collect::<Vec<_>>())))
        }
        "/book" => in_the_book(&query),
        "/run" => run_once(&query),
        "/diagram" => diagram(&query),
        "/seeds" => seeds(&query),
        "/explore" => explored(&query),
        "/curve" => curve(&query),
        path => match of_the_book(path) {
            Some(answer) => Ok(answer),
            None => {
                return Answer::refused(
                    StatusCode::NOT_FOUND,
                    "there is nothing at this address; begin at /",
                );
            }
        },
    };
    answered
        .unwrap_or_else(|refusal| Answer::refused(StatusCode::BAD_REQUEST, &refusal.to_string()))
}

/// What the book says of a row.
fn in_the_book(query: &Query<'_>) -> Result<Answer, Refusal> {
    let row = query.row()?;
    let (chapter, text) = book::about(row);
    let address = format!("/book/{}", row.about().family.name());
    Ok(Answer::json(&json!({ "chapter": chapter, "address": address, "text": text })))
}

/// A chapter or a figure of the book.
fn of_the_book(path: &str) -> Option<Answer> {
    let name = path.strip_prefix("/book/")?;
    match name.strip_prefix("figures/") {
        Some(figure) => book::figure(figure).map(|svg| Answer::of("image/svg+xml", svg)),
        None => book::chapter(name).map(Answer::html),
    }
}

fn run_once(query: &Query<'_>) -> Result<Answer, Refusal> {
    let row = query.row()?;
    let setup = query.setup(row)?;
    let ran = row.run(&setup, false)?;
    Ok(Answer::json(&runs::as_json(row, &setup, &ran)))
}

fn diagram(query: &Query<'_>) -> Result<Answer, Refusal> {
    let row = query.row()?;
    let setup = query.setup(row)?;
    let ran = row.run(&setup, true)?;
    let title = runs::verdict(row, &ran.result);
    Ok(Answer::html(draw(ran.log.as_ref(), &title, &runs::command(row, &setup))))
}

fn draw(log: Option<&StepLog>, title: &str, command: &str) -> String {
    log.map_or_else(String::new, |log| Diagram::new(log, title).command(command).html())
}

/// Tries seeds until a claim breaks, or the patience is at its end.
fn seeds(query: &Query<'_>) -> Result<Answer, Refusal> {
    let row = query.row()?;
    let setup = query.setup(row)?;
    let count = query.number("count").unwrap_or(SEEDS_MAX).min(SEEDS_MAX);
    let began = Instant::now();
    let mut held = 0;
    while held < count && began.elapsed() < PATIENCE {
        let seed = setup.seed.wrapping_add(held);
        if let Some((seed, broken)) =
            row.first_broken(&setup, seed..seed.saturating_add(1), None)?
        {
            let setup = Setup { seed, ..setup };
            let broken = json!({ "claim": broken.claim, "what": broken.what });
            return Ok(Answer::json(
                &json!({ "held": held, "setup": setup.to_string(), "broken": broken }),
            ));
        }
        held += 1;
    }
    Ok(Answer::json(&json!({ "held": held, "seconds": began.elapsed().as_secs_f64() })))
}

/// Explores within one scope; with `draw`, the answer is the diagram of what it found broken.
fn explored(query: &Query<'_>) -> Result<Answer, Refusal> {
    let row = query.row()?;
    let scope = query.number("scope").unwrap_or(1) as usize;
    let mutant = query.get("mutant").filter(|name| !name.is_empty());
    let limits = Limits { threads: super::threads(), states_max: Some(STATES_MAX) };
    let began = Instant::now();
    let found =
        row.explore(scope, mutant.as_deref(), limits, &mut |_| began.elapsed() < PATIENCE)?;
    if query.get("draw").is_none() {
        return Ok(Answer::json(&explore::as_json(&found)));
    }
    let Some(shortest) = &found.broken else { return Ok(Answer::html(String::new())) };
    let title = format!(
        "{}: the shortest run that breaks {}",
        row.about().header().title,
        shortest.broken.claim
    );
    let command = explore::command(row, scope, mutant.as_deref());
    Ok(Answer::html(draw(Some(&shortest.log), &title, &command)))
}

fn curve(query: &Query<'_>) -> Result<Answer, Refusal> {
    let row = query.row()?;
    let curve = super::curve(row, &query.get("curve").unwrap_or_default())?;
    let lines = points(row, curve, super::threads())?;
    Ok(Answer::of("image/svg+xml", svg(curve, &lines)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, query: &str) -> (StatusCode, Value) {
        let Answer { status, body, .. } = answer(path, query);
        (status, serde_json::from_str(&body).expect("it is JSON"))
    }

    #[test]
    fn a_run_is_answered_with_what_came_of_it_and_its_whole_setup() {
        let (status, run) = asked("/run", "row=paxos&setup=nodes%3D5%26seed%3D3");
        assert_eq!((status, &run["verdict"]), (StatusCode::OK, &json!("held")), "{run}");
        assert!(
            run["setup"].as_str().is_some_and(|setup| setup.starts_with("nodes=5&seed=3&")),
            "{run}"
        );
    }

    #[test]
    fn a_mutant_is_found_by_seeds_and_by_exploration() {
        let (_, seeds) = asked("/seeds", "row=paxos&setup=mutant%3Dignores_what_was_accepted");
        assert_eq!(seeds["broken"]["claim"], "agreement", "{seeds}");
        let (_, explored) = asked("/explore", "row=paxos&scope=1&mutant=ignores_what_was_accepted");
        assert_eq!(explored["broken"]["claim"], "agreement", "{explored}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_to_do() {
        for (path, query, words) in [
            ("/run", "row=paxso", "did you mean paxos?"),
            ("/run", "row=paxos&setup=nodes%3D0", "from 1 to"),
            ("/run", "row=paxos&setup=nodes%3D9999", "the page runs up to"),
            ("/explore", "row=paxos&scope=9", "there is no number 9"),
            ("/curve", "row=paxos&curve=x", "has no curve x"),
        ] {
            let (status, refused) = asked(path, query);
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}?{query}");
            assert!(refused["error"].as_str().is_some_and(|why| why.contains(words)), "{refused}");
        }
        for path in ["/nothing", "/book/nothing", "/book/figures/nothing.svg"] {
            assert_eq!(asked(path, "").0, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
