//! The HTTP server, on the control socket and on the metrics listener. Each has its own
//! thread, which can only put [`Request`](super::Request)s into the channel and wait for
//! answers.
//!
//! The number of connections is limited, and so are the duration and the bytes of each. A
//! client cannot cost more than that, and those that ask for nothing make room for others.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::caller::{Caller, Deadline};
use super::socket::{Listener, SocketFile};
use super::stream::{Descriptors, Receiving};
use super::{RequestSender, routes};
use crate::privilege::{self, Role};

/// Maximum number of clients of the control socket.
const CONNECTIONS_MAX: usize = 256;

/// Maximum size of the request line and all headers, in bytes.
const HEADERS_BYTES_MAX: usize = 16 << 10;

/// Timeout for the request line and all headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// Maximum duration of a connection, longer than the longest wait for an answer. A stream
/// extends it.
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);

/// How long an answer of the metrics listener may take while others wait for a connection.
const METRICS_WITHIN: Duration = Duration::from_secs(2);

/// How often to look for a connection to close while a client waits for one.
const MAKE_ROOM_EVERY: Duration = Duration::from_millis(100);

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
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

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

    /// Waits for a client.
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Client)> {
        Ok(match self {
            Self::Control(socket, admins) => {
                let (stream, _) = socket.accept().await?;
                let caller = Caller::of(&stream, *admins, Deadline::after(CONNECTION_WITHIN));
                let stream: Box<dyn Stream> = match caller.may_change {
                    true => Box::new(Receiving::new(stream, caller.descriptors.clone())),
                    // The kernel drops the descriptors of others.
                    false => Box::new(stream),
                };
                (stream, Client { caller: Some(caller), peer: None })
            }
            Self::Metrics(socket) => {
                let (stream, peer) = socket.accept().await?;
                (Box::new(stream), Client { caller: None, peer: Some(peer.ip()) })
            }
        })
    }

    /// An answer that takes longer makes room for other clients. Those on the control socket
    /// may wait for a store, or read a trace.
    fn answers_within(&self) -> Option<Duration> {
        match self {
            Self::Control(..) => None,
            Self::Metrics(_) => Some(METRICS_WITHIN),
        }
    }
}

/// Who has connected.
struct Client {
    /// The process, on the control socket.
    caller: Option<Caller>,
    /// The address of a client in the network.
    peer: Option<IpAddr>,
}

/// Accepts clients. If there are too many, one that has not asked yet makes room.
async fn accept(socket: Socket, connections_max: usize, router: Router) {
    let places = Arc::new(Semaphore::new(connections_max));
    let mut open: Vec<Open> = Vec::new();
    let mut event = false;
    loop {
        let (stream, client) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !std::mem::replace(&mut event, true) {
                    warn!("{}: cannot accept a connection: {error}", socket.name());
                }
                sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        open.retain(|one| !one.task.is_finished());
        let place = loop {
            if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                break place;
            }
            make_room(&mut open, socket.answers_within());
            // The place becomes free when the task is gone.
            if let Ok(Ok(place)) = timeout(MAKE_ROOM_EVERY, Arc::clone(&places).acquire_owned()).await {
                break place;
            }
        };
        let asked = Arc::<OnceLock<Instant>>::default();
        let Client { caller, peer } = client;
        let connection = connection(stream, caller, router.clone(), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            connection.await;
            drop(place);
        });
        open.push(Open { peer, asked, task: task.abort_handle() });
    }
}

/// An open connection.
struct Open {
    /// The address of a client in the network.
    peer: Option<IpAddr>,
    /// When its request had arrived.
    asked: Arc<OnceLock<Instant>>,
    task: AbortHandle,
}

/// Closes a connection: the oldest that has not asked yet, of the client that has most of these.
/// If all have asked, the oldest whose answer takes longer than this.
fn make_room(open: &mut Vec<Open>, answers_within: Option<Duration>) {
    let idle = || open.iter().enumerate().filter(|(_, one)| one.asked.get().is_none());
    let of_peer = |peer: Option<IpAddr>| idle().filter(|(_, other)| other.peer == peer).count();
    // Of several, `max_by_key` takes the last.
    let oldest_idle = idle().rev().max_by_key(|(_, one)| of_peer(one.peer)).map(|(at, _)| at);
    let is_late =
        |one: &Open| one.asked.get().zip(answers_within).is_some_and(|(at, most)| at.elapsed() > most);
    if let Some(at) = oldest_idle.or_else(|| open.iter().position(is_late)) {
        open.remove(at).task.abort();
    }
}

/// Answers the client at the other end of this stream, as one of the control socket.
pub async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, sender: RequestSender) {
    let caller = Caller {
        who: "uid 0, process 0".to_owned(),
        may_change: true,
        descriptors: Descriptors::default(),
        deadline: Deadline::after(CONNECTION_WITHIN),
    };
    connection(Box::new(stream), Some(caller), routes::router(sender, None), Arc::default()).await;
}

/// Serves one request.
pub(super) async fn connection(
    stream: Box<dyn Stream>,
    caller: Option<Caller>,
    router: Router,
    asked: Arc<OnceLock<Instant>>,
) {
    let deadline =
        caller.as_ref().map_or_else(|| Deadline::after(CONNECTION_WITHIN), |one| one.deadline.clone());
    let inner = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        let _ = asked.set(Instant::now());
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
