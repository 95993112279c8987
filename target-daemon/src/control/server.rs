//! The server on the control socket: a thread of its own, which can only put
//! [`Ask`](super::Ask)s into the channel and wait for answers.
//!
//! Whatever a client does, it costs no more than one of so many connections,
//! for so long, with so many bytes.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use log::{info, warn};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::sleep;

use super::caller::{Caller, Deadline};
use super::socket::{Listener, SocketFile};
use super::{RequestSender, routes, trace};
use crate::privilege::{self, Role};

/// Clients at once. More wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

/// Bytes of a request line and all headers.
const HEADERS_BYTES_MAX: usize = 16 << 10;

/// Time for a request line and all headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// Time for a connection as a whole: longer than the longest answer. A stream has
/// other limits.
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);

/// Pause where no connection can be accepted: too many files are open.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The running server. Dropping it ends the thread and removes the socket.
#[derive(Debug)]
pub struct Handle {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _file: SocketFile,
}

/// Serves on a thread of its own.
///
/// # Errors
///
/// Those of the system: no epoll, no thread.
pub fn start(listener: Listener, sender: RequestSender) -> io::Result<Handle> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (stop, stopped) = oneshot::channel();
    let Listener { accept, file } = listener;
    let listener = {
        let _inside = runtime.enter();
        UnixListener::from_std(accept)?
    };
    let body = move || {
        privilege::enter(Role::Helper);
        run(&runtime, listener, sender, stopped);
    };
    let thread = thread::Builder::new().name("control-api".to_owned()).spawn(body)?;
    Ok(Handle { stop: Some(stop), thread: Some(thread), _file: file })
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(runtime: &Runtime, listener: UnixListener, sender: RequestSender, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async move {
        // Ends with the runtime, as all connections do.
        tokio::spawn(accept(listener, routes::router(sender)));
        let _ = stopped.await;
    });
}

async fn accept(listener: UnixListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut event = false;
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, router.clone(), place));
            }
            Err(error) => {
                if !std::mem::replace(&mut event, true) {
                    warn!("control socket: cannot accept a connection: {error}");
                }
                sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

/// One request and its answer.
async fn connection(stream: UnixStream, router: Router, _place: OwnedSemaphorePermit) {
    let who = stream.peer_cred().map_or_else(
        |_| "somebody".to_owned(),
        |peer| format!("uid {}, process {}", peer.uid(), peer.pid().unwrap_or(0)),
    );
    let caller = Caller { who, deadline: Deadline::after(CONNECTION_WITHIN) };
    let inner = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        if is_logged(&request) {
            info!("asked by {}: {} {}", caller.who, request.method(), request.uri().path().escape_debug());
        }
        request.extensions_mut().insert(caller.clone());
        inner.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADERS_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away, or sends what is no HTTP, is its own affair.
    let _ = caller.deadline.within(connection).await;
}

/// Whether it changes something, or sees what hosts do.
fn is_logged(request: &Request<Incoming>) -> bool {
    ![Method::GET, Method::HEAD].contains(request.method()) || request.uri().path() == trace::PATH
}
