//! The listener: HTTP/1.1 on a thread of its own, for few clients at a time and
//! for a bounded time each. It has no way to change anything.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::text::Format;
use crate::control::{Overview, Request, RequestSender};
use crate::privilege::{self, Role};

/// Connections at a time; more wait in the kernel.
const CONNECTIONS_MAX: usize = 8;

/// How long a client may take to send what it asks for.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(15);

/// How long the control thread may take. It answers within milliseconds, unless
/// a worker waits in a store.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// A pause when no connection can be taken: too many files are open.
const PAUSE: Duration = Duration::from_millis(200);

/// The page for people.
const PAGE: &str = "<!doctype html><title>xblade</title><h1>xblade</h1>\
    <p><a href=\"/metrics\">Metrics</a> for Prometheus</p>\n";

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{}. {}", self.what(), self.remedy())]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl BindError {
    /// What is wrong.
    pub fn what(&self) -> String {
        format!("cannot give metrics on {}: {}", self.address, self.source)
    }

    /// What to do.
    pub fn remedy(&self) -> String {
        let address = self.address;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "Another process has port {}: give a free one (metrics in the section [service], --metrics), or stop \
                 that process (ss -ltnp names it)",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("No interface has the address {}: give one that is there, or 127.0.0.1", address.ip())
            }
            io::ErrorKind::PermissionDenied => {
                "Ports below 1024 need a right of their own: give a higher one".into()
            }
            _ => "Give another address (metrics in the section [service], --metrics), or none".into(),
        }
    }
}

/// An address that is taken; nobody is answered yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Takes the address.
    ///
    /// # Errors
    ///
    /// Why not, with the remedy.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let socket = TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self { socket })
    }

    /// The address, with the port that was chosen if that was 0.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers clients from now on, on a thread of its own, until the process
    /// ends.
    ///
    /// # Errors
    ///
    /// When there can be no thread, or no `epoll` for it.
    pub fn start(self, sender: RequestSender) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("xblade-metrics".into()).spawn(move || {
            privilege::enter(Role::Helper);
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(self.socket) {
                    Ok(socket) => accept(socket, router(sender)).await,
                    Err(e) => log::error!("metrics: {e}: nobody is answered"),
                }
            });
        })?;
        Ok(())
    }
}

/// What is answered: `/metrics`, and a page that names it.
pub fn router(sender: RequestSender) -> Router {
    Router::new().route("/", get(async || Html(PAGE))).route("/metrics", get(metrics)).with_state(sender)
}

async fn accept(socket: tokio::net::TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            // One request each: a connection that is kept would keep its place.
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_LIMIT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away, or is too slow, is no news.
            let _ = timeout(CONNECTION_LIMIT, connection).await;
            drop(place);
        });
    }
}

async fn metrics(State(sender): State<RequestSender>, headers: HeaderMap) -> Response {
    let overview = match overview(&sender).await {
        Ok(overview) => overview,
        Err(why) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    };
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = wanted(accept);
    ([(header::CONTENT_TYPE, format.content_type())], super::render(&overview, format)).into_response()
}

/// Asks the control thread. An error says why there is no answer.
async fn overview(sender: &RequestSender) -> Result<Overview, &'static str> {
    let (to, answer) = oneshot::channel();
    if !sender.ask(Request::Overview(Box::new(move |overview| drop(to.send(overview))))) {
        return Err("too much is asked at once, or xblade ends");
    }
    match timeout(ANSWER_LIMIT, answer).await {
        Ok(answer) => answer.map_err(|_| "xblade ends"),
        Err(_) => Err("xblade has not answered in time: a store may hang"),
    }
}

/// The format that a client likes best; OpenMetrics if it does not mind.
fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> Format {
    let (mut open, mut plain) = (None, None);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let slot = match parts.next().unwrap_or_default() {
            "application/openmetrics-text" | "application/*" => &mut open,
            "text/plain" | "text/*" | "text/html" => &mut plain,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        *slot = Some(slot.unwrap_or(0.0_f32).max(quality));
    }
    match (open, plain) {
        (None, Some(quality)) if quality > 0.0 => Format::Prometheus,
        (Some(open), Some(plain)) if plain > open => Format::Prometheus,
        _ => Format::OpenMetrics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_format_that_it_likes_best() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                          q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            ("text/plain", Format::Prometheus),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Prometheus),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Prometheus),
            ("application/openmetrics-text;q=0.3,text/plain;q=0.9", Format::Prometheus),
            ("application/openmetrics-text; q=0.9 , text/plain; q=0.3", Format::OpenMetrics),
            ("text/plain;q=0", Format::OpenMetrics),
        ] {
            assert_eq!(wanted([accept].into_iter()), format, "{accept}");
        }
    }

    #[test]
    fn a_busy_port_is_told_with_its_remedy() -> Result<(), Box<dyn std::error::Error>> {
        let first = Listener::bind("127.0.0.1:0".parse()?)?;
        let address = first.address()?;
        let error = Listener::bind(address).err().ok_or("bound twice")?.to_string();
        let (port, whole) = (format!("has port {}", address.port()), address.to_string());
        for part in [whole.as_str(), &port, "give a free one", "--metrics"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = Listener::bind("203.0.113.77:9464".parse()?).err().ok_or("bound")?.to_string();
        assert!(
            error.contains("203.0.113.77:9464") && error.contains("No interface has the address"),
            "{error}"
        );
        Ok(())
    }
}
