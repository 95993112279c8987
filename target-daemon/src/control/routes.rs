//! The HTTP routes. docs/CONTROL.md is the reference.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as AnswerBody, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request as HttpRequest, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use hyper::body::Body as _;
use log::{info, warn};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::caller::Caller;
use super::json::{self, Fields, View};
use super::openapi::{self, Body as Sent, Kind, Operation, Parameter};
use super::snapshot::Snapshot;
use super::{Answer, Change, ControlError, Request, RequestSender, body, trace};
use crate::config;
use crate::shelf::HostSetting;
use crate::wire::aoe::Address;

/// Maximum size of a request body, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Timeout for a request body.
const BODY_WITHIN: Duration = Duration::from_secs(5);

/// Timeout for an answer of the control thread.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Timeout for a change, which may have to wait for requests in flight.
const CHANGE_WITHIN: Duration = Duration::from_secs(40);

/// Maximum number of clients with a request in the channel. It is below the capacity of
/// the channel, so that there is room for other senders. Other clients wait.
const ASKING_MAX: usize = 32;

/// Access to the control thread.
#[derive(Clone)]
pub(super) struct Questions {
    sender: RequestSender,
    places: Arc<Semaphore>,
    tracing: trace::OneTrace,
}

impl Questions {
    pub(super) fn new(sender: RequestSender) -> Self {
        let places = Arc::new(Semaphore::new(ASKING_MAX));
        Self { sender, places, tracing: trace::OneTrace::default() }
    }
}

type To = State<Questions>;

/// Why a request failed.
pub(super) struct Error(pub StatusCode, pub String);

type Answered = Result<Response, Error>;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = pretty(&json!({ "error": self.1 }));
        *response.status_mut() = self.0;
        response
    }
}

impl From<ControlError> for Error {
    fn from(refusal: ControlError) -> Self {
        match refusal {
            ControlError::Request(text) => Self(StatusCode::BAD_REQUEST, text),
            ControlError::Unknown(text) => Self(StatusCode::NOT_FOUND, text),
            ControlError::Machine(text) => Self(StatusCode::CONFLICT, text),
        }
    }
}

/// All routes.
pub fn router(sender: RequestSender, admin_group: Option<String>) -> Router {
    let rights = middleware::from_fn(move |caller, request, next| {
        check_rights(admin_group.clone(), caller, request, next)
    });
    let add = |routes: Router<_>, operation: Operation<_>| routes.route(operation.path, operation.handler);
    operations()
        .into_iter()
        .fold(Router::new(), add)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(rights)
        .with_state(Questions::new(sender))
}

/// Every method of every path.
fn operations() -> Vec<Operation<Questions>> {
    const FORCE: Parameter = Parameter("force", Kind::Flag, "even if it loses data");
    const RELOAD: &[Parameter] =
        &[FORCE, Parameter("dry-run", Kind::Flag, "changes nothing, and answers what would change")];
    const REFUSE: &[Parameter] = &[Parameter("refuse", Kind::Flag, "hosts set nothing from now on")];
    const TRACE: &[Parameter] = &[
        Parameter("every", Kind::Number, "one request in this many"),
        Parameter("dropped", Kind::Flag, "frames dropped by a worker"),
        Parameter("export", Kind::Address, "only this export"),
    ];
    vec![
        of_all("/v1/status", "What is served, and its state", json::STATUS),
        of_all("/v1/stats", "Counters and times", json::STATS),
        Operation::get("/v1/samples", "What xblade top shows", openapi::Answer::Samples, get(sample)),
        Operation::get(
            "/v1/config",
            "The current configuration",
            openapi::Answer::Configuration,
            get(configuration),
        ),
        Operation::change("post", "/v1/reload", "Rereads the configuration file", post(reload)).query(RELOAD),
        Operation::get(
            "/v1/trace",
            "Requests and dropped frames as they occur",
            openapi::Answer::Trace,
            get(traced),
        )
        .query(TRACE),
        of_all("/v1/exports", "All exports", json::EXPORTS),
        Operation::change("post", "/v1/exports", "Adds an export", post(add)).body(Sent::Export),
        of_one("/v1/exports/{address}", "One export", json::EXPORT),
        Operation::change("delete", "/v1/exports/{address}", "Stops serving an export", delete(remove))
            .query(&[FORCE]),
        Operation::change(
            "post",
            "/v1/exports/{address}/read-only",
            "Refuses or accepts writes",
            post(read_only),
        )
        .body(Sent::ReadOnly),
        Operation::change("post", "/v1/exports/{address}/resize", "Rereads the size", post(resize)),
        Operation::change(
            "post",
            "/v1/exports/{address}/recover",
            "Accepts writes after a failed sync",
            post(recover),
        )
        .body(Sent::Reason),
        of_one("/v1/exports/{address}/config", "Its config string", json::CONFIG),
        of_one("/v1/exports/{address}/mask", "Its mask list", json::MASK),
        of_one("/v1/exports/{address}/reservation", "The holders of its reservation", json::RESERVATION),
        clear("/v1/exports/{address}/config", "Clears its config string", HostSetting::Config).query(REFUSE),
        clear("/v1/exports/{address}/mask", "Clears its mask list", HostSetting::Mask).query(REFUSE),
        clear("/v1/exports/{address}/reservation", "Clears its reservation", HostSetting::Reservation)
            .query(REFUSE),
        Operation::get("/v1/openapi.json", "This document", openapi::Answer::OpenApi, get(openapi)),
    ]
}

/// Shows fields of the snapshot.
fn of_all(path: &'static str, summary: &'static str, fields: Fields) -> Operation<Questions> {
    Operation::get(path, summary, openapi::Answer::Snapshot(fields), get(move |to: To| all(to, fields)))
}

/// Shows fields of one export.
fn of_one(path: &'static str, summary: &'static str, fields: Fields) -> Operation<Questions> {
    Operation::get(
        path,
        summary,
        openapi::Answer::Export(fields),
        get(move |to: To, at: At| one(to, at, fields)),
    )
}

/// Clears what hosts have set.
fn clear(path: &'static str, summary: &'static str, setting: HostSetting) -> Operation<Questions> {
    let handler = async move |to: To, At(address): At, uri: Uri| {
        let [refuse] = flags(&uri, ["refuse"])?;
        change(to, Change::Clear { address, setting, refuse }).await
    };
    Operation::change("delete", path, summary, delete(handler))
}

async fn openapi() -> Answered {
    Ok(pretty(&openapi::document(&operations())))
}

/// Refuses a change by a caller who may only look, before its body is read. A trace is one as
/// well: it shows parts of frames, and only one can run.
async fn check_rights(
    admin_group: Option<String>,
    Extension(caller): Extension<Caller>,
    request: HttpRequest,
    next: Next,
) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    if [Method::GET, Method::HEAD].contains(method) && path != trace::PATH {
        return next.run(request).await;
    }
    let (who, asked) = (&caller.who, format!("{method} {}", path.escape_debug()));
    if caller.may_change {
        info!("asked by {who}: {asked}");
        return next.run(request).await;
    }
    warn!("refused to {who}, who may only look: {asked}");
    let group = match admin_group {
        Some(group) => format!("as a member of the group {group} (usermod -aG {group} USER, and log in again)"),
        None => "have xblade take changes from a group (admin-group = \"xblade\" under [service], or --admin-group) \
                 that you are in"
            .to_owned(),
    };
    let text = format!("you may look, and neither change nor trace: run this as root (sudo), or {group}");
    Error(StatusCode::FORBIDDEN, text).into_response()
}

async fn sample(State(to): To) -> Answered {
    let whole = ask(&to, ANSWER_WITHIN, Request::Snapshot).await?;
    Ok(document(serde_json::to_vec(&whole).map_err(internal)?))
}

async fn configuration(State(to): To) -> Answered {
    let serve = ask(&to, ANSWER_WITHIN, Request::Configuration).await?;
    Ok(document(config::to_json(&serve).map_err(internal)?.into_bytes()))
}

async fn add(to: To, Extension(caller): Extension<Caller>, Body(bytes): Body) -> Answered {
    let export = Box::new(body::export(&bytes).map_err(bad)?);
    // The path of the request names neither.
    let label = export.store.label().to_string_lossy();
    info!("{}: {} is to be added for {}", export.address, label.escape_debug(), caller.who);
    change(to, Change::Add { export, descriptors: caller.descriptors.take() }).await
}

async fn remove(to: To, At(address): At, uri: Uri) -> Answered {
    let [force] = flags(&uri, ["force"])?;
    change(to, Change::Remove { address, force }).await
}

async fn read_only(to: To, At(address): At, Body(bytes): Body) -> Answered {
    let read_only = body::read_only(&bytes).map_err(bad)?;
    change(to, Change::ReadOnly { address, read_only }).await
}

async fn recover(to: To, At(address): At, Body(bytes): Body) -> Answered {
    let reason = body::reason(&bytes).map_err(bad)?;
    change(to, Change::Recover { address, reason }).await
}

async fn reload(to: To, uri: Uri) -> Answered {
    let [force, dry_run] = flags(&uri, ["force", "dry-run"])?;
    change(to, Change::Reload { force, dry_run }).await
}

async fn resize(to: To, At(address): At) -> Answered {
    change(to, Change::Resize(address)).await
}

/// Which of these flags, the only ones that the path takes, are set in the query.
fn flags<const N: usize>(uri: &Uri, names: [&str; N]) -> Result<[bool; N], Error> {
    let mut given = [false; N];
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let flag = pair.split_once('=').and_then(|(name, value)| {
            Some((names.iter().position(|other| *other == name)?, value.parse().ok()?))
        });
        let Some((index, value)) = flag else {
            let known = names.map(|name| format!("{name}=true")).join(", ");
            return Err(bad(format!("{pair}: means nothing here: give {known}, or nothing")));
        };
        given[index] = value;
    }
    Ok(given)
}

async fn traced(State(to): To, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let filter = trace::TraceFilter::parse(uri.query().unwrap_or_default()).map_err(bad)?;
    let place = to.tracing.take(&caller.who).map_err(|other| {
        let text = format!("{other} traces already, and one can at a time: end that, or wait for its end");
        Error(StatusCode::CONFLICT, text)
    })?;
    let (mut stream, tracer) = trace::Stream::new(filter, to.sender.clone(), place, caller.deadline);
    stream.interfaces = ask(&to, ANSWER_WITHIN, |answer| Request::Trace { tracer, answer }).await?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], AnswerBody::new(stream)).into_response())
}

async fn unknown(uri: Uri) -> Error {
    let what = format!("{}: there is nothing here: docs/CONTROL.md has every path", uri.path());
    Error(StatusCode::NOT_FOUND, what)
}

async fn wrong_method(method: Method, uri: Uri) -> Error {
    let what = format!("{}: does not take {method}: docs/CONTROL.md says what it takes", uri.path());
    Error(StatusCode::METHOD_NOT_ALLOWED, what)
}

/// Sends a request to the control thread and waits for its answer.
pub(super) async fn ask<T: Send + 'static>(
    to: &Questions,
    within: Duration,
    make: impl FnOnce(Answer<T>) -> Request,
) -> Result<T, Error> {
    let ends = || unavailable("xblade ends: ask again when it has been started");
    let answered = timeout(within, async {
        let place = Arc::clone(&to.places).acquire_owned().await.map_err(|_| ends())?;
        let (send, receive) = oneshot::channel();
        let answer = Box::new(move |value| {
            // Held until now, even if the client has disconnected, because its request
            // stays in the channel.
            drop(place);
            let _ = send.send(value);
        });
        if !to.sender.ask(make(answer)) {
            return Err(unavailable("xblade has too much to answer already, or ends: ask again in a moment"));
        }
        receive.await.map_err(|_| ends())
    });
    answered.await.unwrap_or_else(|_| {
        Err(unavailable(format!(
            "no answer within {} s: a store may not answer. What was asked for may still happen: look at \
             `xblade status` and the log",
            within.as_secs()
        )))
    })
}

async fn change(State(to): To, change: Change) -> Answered {
    let changed = ask(&to, CHANGE_WITHIN, |answer| Request::Change(change, answer)).await?;
    Ok(pretty(&changed?))
}

/// A view of the snapshot.
async fn all(State(to): To, fields: Fields) -> Answered {
    shown(&snapshot(&to).await?, fields)
}

/// A view of one export.
async fn one(State(to): To, At(address): At, fields: Fields) -> Answered {
    let (exports, address) = (snapshot(&to).await?.exports, address.to_string());
    if let Some(export) = exports.iter().find(|export| export.address == address) {
        return shown(export, fields);
    }
    let there: Vec<&str> = exports.iter().map(|export| export.address.as_str()).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let text = format!("{address}: is not exported: give one of those that are: {there}");
    Err(Error(StatusCode::NOT_FOUND, text))
}

/// The snapshot, without the parts that no view shows.
async fn snapshot(to: &Questions) -> Result<Snapshot, Error> {
    let mut snapshot = ask(to, ANSWER_WITHIN, Request::Snapshot).await?;
    snapshot.exports.iter_mut().for_each(|export| export.times.0.clear());
    Ok(snapshot)
}

fn shown(value: &impl Serialize, fields: Fields) -> Answered {
    let value = serde_json::to_value(value).map_err(internal)?;
    Ok(pretty(&View(&value, fields)))
}

fn bad(text: String) -> Error {
    Error(StatusCode::BAD_REQUEST, text)
}

fn unavailable(text: impl Into<String>) -> Error {
    Error(StatusCode::SERVICE_UNAVAILABLE, text.into())
}

fn internal(error: serde_json::Error) -> Error {
    Error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn pretty(value: &impl Serialize) -> Response {
    match serde_json::to_vec_pretty(value) {
        Ok(bytes) => document(bytes),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn document(mut bytes: Vec<u8>) -> Response {
    bytes.push(b'\n');
    ([(CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// The address in a path.
struct At(Address);

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = text.map_err(|rejection| bad(rejection.body_text()))?;
        text.parse().map(Self).map_err(|error: crate::wire::aoe::AddressError| bad(error.to_string()))
    }
}

/// The body of a request.
struct Body(Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: HttpRequest, state: &S) -> Result<Self, Error> {
        let too_long = || {
            let text = format!("the body is longer than {BODY_BYTES_MAX} bytes: send one export at a time");
            Err(Error(StatusCode::PAYLOAD_TOO_LARGE, text))
        };
        // Refused before any of it is read.
        if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
            return too_long();
        }
        match timeout(BODY_WITHIN, Bytes::from_request(request, state)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => too_long(),
            Ok(Err(rejection)) => Err(bad(rejection.body_text())),
            Err(_) => {
                let text =
                    format!("the body did not come within {} s: send it at once", BODY_WITHIN.as_secs());
                Err(Error(StatusCode::REQUEST_TIMEOUT, text))
            }
        }
    }
}
