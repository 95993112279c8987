//! The HTTP routes. docs/CONTROL.md is the reference.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as AnswerBody, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request as HttpRequest, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::caller::Caller;
use super::json::{self, Fields, View};
use super::snapshot::{Export, Snapshot};
use super::{Answer, Change, ControlError, Request, RequestSender, body, trace};
use crate::config;
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

/// Why a request failed.
pub(super) struct Error(pub StatusCode, pub String);

type Answered = Result<Response, Error>;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = json(&json::Error { error: self.1 });
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
pub fn router(sender: RequestSender) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/stats", get(stats))
        .route("/v1/samples", get(sample))
        .route("/v1/config", get(configuration))
        .route("/v1/reload", post(reload))
        .route("/v1/trace", get(traced))
        .route("/v1/exports", get(exports).post(add))
        .route("/v1/exports/{address}", get(export).delete(remove))
        .route("/v1/exports/{address}/read-only", post(read_only))
        .route("/v1/exports/{address}/resize", post(resize))
        .route("/v1/exports/{address}/recover", post(recover))
        .route("/v1/exports/{address}/reservation", get(reservation).delete(clear_reservation))
        .route("/v1/exports/{address}/mask", get(mask).delete(clear_mask))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Questions::new(sender))
}

async fn status(State(to): State<Questions>) -> Answered {
    shown(&snapshot(&to).await?, json::STATUS)
}

async fn stats(State(to): State<Questions>) -> Answered {
    shown(&snapshot(&to).await?, json::STATS)
}

async fn sample(State(to): State<Questions>) -> Answered {
    let whole = ask(&to, ANSWER_WITHIN, Request::Snapshot).await?;
    Ok(document(serde_json::to_vec(&whole).map_err(|error| internal(&error))?))
}

async fn configuration(State(to): State<Questions>) -> Answered {
    let serve = ask(&to, ANSWER_WITHIN, Request::Configuration).await?;
    let text = config::to_json(&serve).map_err(|error| internal(&error))?;
    Ok(document(text.into_bytes()))
}

async fn exports(State(to): State<Questions>) -> Answered {
    shown(&snapshot(&to).await?, json::EXPORTS)
}

async fn export(State(to): State<Questions>, At(address): At) -> Answered {
    shown(&one(&to, address).await?, json::EXPORT)
}

async fn reservation(State(to): State<Questions>, At(address): At) -> Answered {
    shown(&one(&to, address).await?, json::RESERVATION)
}

async fn mask(State(to): State<Questions>, At(address): At) -> Answered {
    shown(&one(&to, address).await?, json::MASK)
}

async fn add(State(to): State<Questions>, Body(bytes): Body) -> Answered {
    let export = Box::new(body::export(&bytes).map_err(bad)?);
    change(&to, Change::Add(export)).await
}

async fn remove(State(to): State<Questions>, At(address): At, uri: Uri) -> Answered {
    let force = is_forced(&uri)?;
    change(&to, Change::Remove { address, force }).await
}

async fn read_only(State(to): State<Questions>, At(address): At, Body(bytes): Body) -> Answered {
    let read_only = body::read_only(&bytes).map_err(bad)?;
    change(&to, Change::ReadOnly { address, read_only }).await
}

async fn resize(State(to): State<Questions>, At(address): At) -> Answered {
    change(&to, Change::Resize(address)).await
}

async fn recover(State(to): State<Questions>, At(address): At, Body(bytes): Body) -> Answered {
    let reason = body::reason(&bytes).map_err(bad)?;
    change(&to, Change::Recover { address, reason }).await
}

async fn reload(State(to): State<Questions>, uri: Uri) -> Answered {
    let force = is_forced(&uri)?;
    change(&to, Change::Reload { force }).await
}

fn is_forced(uri: &Uri) -> Result<bool, Error> {
    match uri.query() {
        None | Some("" | "force=false") => Ok(false),
        Some("force=true") => Ok(true),
        Some(other) => Err(bad(format!("{other}: means nothing here: give force=true, or nothing"))),
    }
}

async fn clear_reservation(State(to): State<Questions>, At(address): At) -> Answered {
    change(&to, Change::ClearReservation(address)).await
}

async fn clear_mask(State(to): State<Questions>, At(address): At) -> Answered {
    change(&to, Change::ClearMask(address)).await
}

async fn traced(State(to): State<Questions>, Extension(caller): Extension<Caller>, uri: Uri) -> Answered {
    let filter = trace::TraceFilter::parse(uri.query().unwrap_or_default()).map_err(bad)?;
    let place = to.tracing.take(&caller.who).map_err(|other| {
        let text = format!("{other} traces already, and one can at a time: end that, or wait for its end");
        Error(StatusCode::CONFLICT, text)
    })?;
    let (stream, tracer) = trace::Stream::new(filter, to.sender.clone(), place, caller.deadline);
    let interfaces = ask(&to, ANSWER_WITHIN, |answer| Request::Trace { tracer, answer }).await?;
    let lines = AnswerBody::new(stream.on(interfaces));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
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
    timeout(within, ask_and_wait(to, make)).await.unwrap_or_else(|_| {
        Err(unavailable(&format!(
            "no answer within {} s: a store may not answer. What was asked for may still happen: look at \
             `xblade status` and the log",
            within.as_secs()
        )))
    })
}

async fn ask_and_wait<T: Send + 'static>(
    to: &Questions,
    make: impl FnOnce(Answer<T>) -> Request,
) -> Result<T, Error> {
    let ends = || unavailable("xblade ends: ask again when it has been started");
    let place = Arc::clone(&to.places).acquire_owned().await.map_err(|_| ends())?;
    let (send, receive) = oneshot::channel();
    let answer = Box::new(move |value| {
        // Held until now even if the client has disconnected: the request stays in the
        // channel.
        drop(place);
        let _ = send.send(value);
    });
    if !to.sender.ask(make(answer)) {
        return Err(unavailable("xblade has too much to answer already, or ends: ask again in a moment"));
    }
    receive.await.map_err(|_| ends())
}

async fn change(to: &Questions, change: Change) -> Answered {
    let changed = ask(to, CHANGE_WITHIN, |answer| Request::Change(change, answer)).await?;
    Ok(json(&changed?))
}

/// The snapshot without what no view shows.
async fn snapshot(to: &Questions) -> Result<Snapshot, Error> {
    let mut snapshot = ask(to, ANSWER_WITHIN, Request::Snapshot).await?;
    snapshot.exports.iter_mut().for_each(|export| export.times.0.clear());
    Ok(snapshot)
}

async fn one(to: &Questions, address: Address) -> Result<Export, Error> {
    let (exports, address) = (snapshot(to).await?.exports, address.to_string());
    let there: Vec<String> = exports.iter().map(|export| export.address.clone()).collect();
    exports.into_iter().find(|export| export.address == address).ok_or_else(|| {
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        Error(
            StatusCode::NOT_FOUND,
            format!("{address}: is not exported: give one of those that are: {there}"),
        )
    })
}

fn shown(value: &impl Serialize, fields: Fields) -> Answered {
    let value = serde_json::to_value(value).map_err(|error| internal(&error))?;
    Ok(json(&View(&value, fields)))
}

fn bad(text: String) -> Error {
    Error(StatusCode::BAD_REQUEST, text)
}

fn too_long() -> Error {
    let text = format!("the body is longer than {BODY_BYTES_MAX} bytes: send one export at a time");
    Error(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn unavailable(text: &str) -> Error {
    Error(StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
}

fn internal(error: &impl std::fmt::Display) -> Error {
    Error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn json(value: &impl Serialize) -> Response {
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
        let length =
            request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > BODY_BYTES_MAX as u64) {
            return Err(too_long());
        }
        match timeout(BODY_WITHIN, Bytes::from_request(request, state)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_long()),
            Ok(Err(rejection)) => Err(bad(rejection.body_text())),
            Err(_) => {
                let text =
                    format!("the body did not come within {} s: send it at once", BODY_WITHIN.as_secs());
                Err(Error(StatusCode::REQUEST_TIMEOUT, text))
            }
        }
    }
}
