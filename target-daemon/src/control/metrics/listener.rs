//! The metrics listener: HTTP on a TCP socket, with `/metrics` and a page that links to it. It
//! cannot change anything.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rustix::system::uname;
use tokio::io::{AsyncRead, AsyncWrite};

use super::text::Format;
use crate::control::routes::{ANSWER_WITHIN, Error, Questions, ask};
use crate::control::server::{Handle, Socket, connection, serve};
use crate::control::{self, RequestSender};
use crate::store::Problem;

/// The page at `/`.
const PAGE: &str = "<!doctype html><title>xblade</title><h1>xblade</h1>\
    <p><a href=\"/metrics\">Metrics</a> for Prometheus</p>\n";

/// Maximum number of connections. Anyone in the network may connect, and each may hold a whole
/// answer.
const CONNECTIONS_MAX: usize = 8;

/// Binds the address. Clients wait there until the server is started.
///
/// # Errors
///
/// The problem with its remedy.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Problem> {
    let bound = TcpListener::bind(address).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    bound.map_err(|error| {
        let remedy = match error.kind() {
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
        };
        Problem::new(format!("cannot give metrics on {address}: {error}"), remedy)
    })
}

/// Starts answering clients, on its own thread. They may ask by an address, `localhost`, the name
/// of this machine, or one of these names.
///
/// # Errors
///
/// If the thread or its `epoll` cannot be created.
pub fn start(socket: TcpListener, names: Vec<String>, sender: RequestSender) -> io::Result<Handle> {
    let listen = || tokio::net::TcpListener::from_std(socket).map(Socket::Metrics);
    serve("xblade-metrics", listen, CONNECTIONS_MAX, router(names, sender))
}

/// Answers the client at the other end of this stream, as one of the listener.
pub async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, sender: RequestSender) {
    connection(Box::new(stream), None, router(Vec::new(), sender), Arc::default()).await;
}

fn router(mut names: Vec<String>, sender: RequestSender) -> Router {
    names.push("localhost".to_owned());
    names.push(uname().nodename().to_string_lossy().into_owned());
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/metrics", get(metrics))
        .layer(from_fn_with_state(Arc::from(names), only_by_name))
        .with_state(Questions::new(sender))
}

/// Refuses requests by other names. A page that a browser shows may have its own name lead to our
/// address, and read the answer.
async fn only_by_name(State(names): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let of = |headers: &HeaderMap| {
        headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default().to_owned())
    };
    // Every browser sends one. A target with a name in it takes precedence.
    let host = request.uri().authority().map(ToString::to_string).or_else(|| of(request.headers()));
    match host {
        Some(host) if !is_ours(&host, &names) => {
            let what = format!(
                "{host} is not an address or known name of this machine: ask by its address, or add the name to \
                 metrics-names in the section [service] (--metrics-name)\n"
            );
            (StatusCode::MISDIRECTED_REQUEST, what).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Whether this is an address, or one of these names, with a port or not.
fn is_ours(host: &str, names: &[String]) -> bool {
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name);
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.parse::<Ipv4Addr>().is_ok()
        || inner.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok())
        || names.iter().any(|known| known.eq_ignore_ascii_case(name.strip_suffix('.').unwrap_or(name)))
}

async fn metrics(State(to): State<Questions>, headers: HeaderMap) -> Response {
    let snapshot = match ask(&to, ANSWER_WITHIN, control::Request::Snapshot).await {
        Ok(snapshot) => snapshot,
        Err(Error(status, why)) => return (status, format!("{why}\n")).into_response(),
    };
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = wanted(&accept.collect::<String>());
    ([(header::CONTENT_TYPE, format.content_type())], super::render(&snapshot, format)).into_response()
}

/// The older format for clients that take text, but do not know OpenMetrics.
fn wanted(accept: &str) -> Format {
    match accept.contains("text/") && !accept.contains("application/openmetrics-text") {
        true => Format::Prometheus,
        false => Format::OpenMetrics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_known_names_are_ours() {
        let names = ["localhost".to_owned(), "storage.example".to_owned()];
        for host in
            ["127.0.0.1", "10.0.0.7:9464", "[::1]", "[fe80::1]:9464", "LOCALHOST:9464", "storage.example."]
        {
            assert!(is_ours(host, &names), "{host}");
        }
        for host in
            ["", ":", "evil.example", "10.0.0.7.evil.example:9464", "[x]", "::1", "storage.example.evil"]
        {
            assert!(!is_ours(host, &names), "{host}");
        }
    }

    #[test]
    fn a_client_gets_a_format_that_it_knows() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                          q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            ("text/plain", Format::Prometheus),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Prometheus),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Prometheus),
        ] {
            assert_eq!(wanted(accept), format, "{accept}");
        }
    }

    #[test]
    fn a_busy_port_is_told_with_its_remedy() -> Result<(), Box<dyn std::error::Error>> {
        let first = bind("127.0.0.1:0".parse()?)?;
        let address = first.local_addr()?;
        let error = bind(address).err().ok_or("bound twice")?.to_string();
        let (port, whole) = (format!("has port {}", address.port()), address.to_string());
        for part in [whole.as_str(), &port, "give a free one", "--metrics"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = bind("203.0.113.77:9464".parse()?).err().ok_or("bound")?.to_string();
        assert!(
            error.contains("203.0.113.77:9464") && error.contains("No interface has the address"),
            "{error}"
        );
        Ok(())
    }
}
