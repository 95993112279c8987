//! The HTTP server, on the control socket and on the metrics listener. Each has its own
//! thread, which can only put [`Request`](super::Request)s into the channel and wait for
//! answers.
//!
//! The number of connections is limited, and so are the duration and the bytes of each. A
//! client cannot cost more than that.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use log::warn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::sleep;

use super::caller::{Caller, Deadline};
use super::socket::{Listener, SocketFile};
use super::stream::Receiving;
use super::{RequestSender, routes};
use crate::privilege::{self, Role};

/// Maximum number of clients of the control socket. More wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

/// Maximum size of the request line and all headers, in bytes.
const HEADERS_BYTES_MAX: usize = 16 << 10;

/// Timeout for the request line and all headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// Maximum duration of a connection, longer than the longest wait for an answer. A stream
/// extends it.
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);

/// Pause after a failed accept: too many open files.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A running server. Dropping it stops the thread and removes the socket.
#[derive(Debug)]
#[must_use]
pub struct Handle {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Removed at the end.
    file: Option<SocketFile>,
}

/// Starts the server on the control socket.
///
/// # Errors
///
/// If the thread or its epoll cannot be created.
pub fn start(listener: Listener, sender: RequestSender) -> io::Result<Handle> {
    let Listener { accept, file, admins } = listener;
    let (admins, name) = admins.unzip();
    let listen = || UnixListener::from_std(accept).map(|socket| Socket::Control(socket, admins));
    let mut handle = serve("control-api", listen, CONNECTIONS_MAX, routes::router(sender, name))?;
    handle.file = Some(file);
    Ok(handle)
}

/// Starts a server on its own thread. `listen` is called in its runtime.
///
/// # Errors
///
/// If the thread or its epoll cannot be created.
pub(super) fn serve(
    name: &str,
    listen: impl FnOnce() -> io::Result<Socket>,
    connections_max: usize,
    router: Router,
) -> io::Result<Handle> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let socket = {
        let _inside = runtime.enter();
        listen()?
    };
    let body = move || {
        privilege::enter(Role::Helper);
        runtime.block_on(async move {
            // Stops with the runtime, as all connections do.
            tokio::spawn(accept(socket, connections_max, router));
            let _ = stopped.await;
        });
    };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body)?;
    Ok(Handle { stop: Some(stop), thread: Some(thread), file: None })
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection, of either kind of socket.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A socket that clients connect to.
pub(super) enum Socket {
    /// The control socket, and the group whose members may change something.
    Control(UnixListener, Option<u32>),
    /// The metrics listener.
    Metrics(TcpListener),
}

impl Socket {
    /// Its name in the log.
    fn name(&self) -> &'static str {
        match self {
            Self::Control(..) => "control socket",
            Self::Metrics(_) => "metrics",
        }
    }

    /// Waits for a client. Returns who it is, for the control socket.
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<Caller>)> {
        Ok(match self {
            Self::Control(socket, admins) => {
                let (stream, _) = socket.accept().await?;
                let caller = Caller::of(&stream, *admins, Deadline::after(CONNECTION_WITHIN));
                match caller.may_change {
                    true => (Box::new(Receiving::new(stream, caller.descriptors.clone())), Some(caller)),
                    // The kernel drops the descriptors of others.
                    false => (Box::new(stream), Some(caller)),
                }
            }
            Self::Metrics(socket) => (Box::new(socket.accept().await?.0), None),
        })
    }
}

async fn accept(socket: Socket, connections_max: usize, router: Router) {
    let places = Arc::new(Semaphore::new(connections_max));
    let mut event = false;
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match socket.accept().await {
            Ok((stream, caller)) => {
                tokio::spawn(connection(stream, caller, router.clone(), place));
            }
            Err(error) => {
                if !std::mem::replace(&mut event, true) {
                    warn!("{}: cannot accept a connection: {error}", socket.name());
                }
                sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

/// Serves one request.
async fn connection(
    stream: Box<dyn Stream>,
    caller: Option<Caller>,
    router: Router,
    _place: OwnedSemaphorePermit,
) {
    let deadline =
        caller.as_ref().map_or_else(|| Deadline::after(CONNECTION_WITHIN), |one| one.deadline.clone());
    let inner = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(caller) = &caller {
            request.extensions_mut().insert(caller.clone());
        }
        inner.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEADERS_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Ignored: the client disconnected, or did not send HTTP.
    let _ = deadline.within(connection).await;
}
