//! The metrics listener: HTTP on a TCP socket, with `/metrics` and a page that links to it. It
//! cannot change anything.

use std::io;
use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::text::Format;
use crate::control::routes::{ANSWER_WITHIN, Error, Questions, ask};
use crate::control::server::{Handle, Socket, serve};
use crate::control::{Request, RequestSender};
use crate::store::Problem;

/// The page at `/`.
const PAGE: &str = "<!doctype html><title>xblade</title><h1>xblade</h1>\
    <p><a href=\"/metrics\">Metrics</a> for Prometheus</p>\n";

/// Maximum number of connections; more wait in the kernel. Anyone in the network may
/// connect, and each may hold a whole answer.
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

/// Starts answering clients, on its own thread.
///
/// # Errors
///
/// If the thread or its `epoll` cannot be created.
pub fn start(socket: TcpListener, sender: RequestSender) -> io::Result<Handle> {
    let listen = || tokio::net::TcpListener::from_std(socket).map(Socket::Metrics);
    let router = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/metrics", get(metrics))
        .with_state(Questions::new(sender));
    serve("xblade-metrics", listen, CONNECTIONS_MAX, router)
}

async fn metrics(State(to): State<Questions>, headers: HeaderMap) -> Response {
    let snapshot = match ask(&to, ANSWER_WITHIN, Request::Snapshot).await {
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
