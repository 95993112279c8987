//! What a client sends to the control socket, or to the metrics listener if the first byte is `m`.
//! The control thread answers at once.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xblade::config::Serve;
use xblade::control::{self, Change, ChangeReport, ControlError, Request, RequestQueue, Snapshot, metrics};

/// The number of polls without progress after which nothing more will happen.
const IDLE_MAX: u32 = 4;

pub fn run(data: &[u8]) {
    let (of_metrics, input) = match data {
        [b'm', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (sender, queue) = control::channel().unwrap();
    let stream = Stream { input: Arc::from(input), ..Stream::default() };
    let answer = Arc::clone(&stream.seen);
    runtime.block_on(async {
        if of_metrics {
            converse(metrics::converse(stream, sender), &queue, &answer).await;
        } else {
            converse(control::converse(stream, sender), &queue, &answer).await;
        }
    });
    let seen = answer.lock().unwrap();
    assert!(
        seen.output.is_empty() || seen.output.starts_with(b"HTTP/1."),
        "{:?}",
        String::from_utf8_lossy(&seen.output)
    );
    assert!(!seen.output.starts_with(b"HTTP/1.1 500"), "{:?}", String::from_utf8_lossy(&seen.output));
}

/// Polls the server until it ends, or waits for what does not come.
async fn converse(server: impl Future<Output = ()>, queue: &RequestQueue, seen: &Mutex<Seen>) {
    let mut server = pin!(server);
    let mut idle = 0;
    std::future::poll_fn(|context| {
        if server.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut moved = std::mem::take(&mut seen.lock().unwrap().moved);
        while let Some(request) = queue.next() {
            answer(request);
            moved = true;
        }
        idle = if moved { 0 } else { idle + 1 };
        if idle > IDLE_MAX {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn answer(request: Request) {
    match request {
        Request::Snapshot(answer) => answer(Snapshot::new(Duration::ZERO, vec![], vec![], vec![])),
        Request::Configuration(answer) => answer(Serve::default()),
        Request::Change(Change::Add { export, .. }, answer) => {
            // What was accepted can be shown, as `xblade show` does.
            let serve = Serve { exports: vec![*export], ..Serve::default() };
            let _ = config_of(&serve);
            answer(Ok(ChangeReport::default()));
        }
        Request::Change(Change::Recover { reason, .. }, answer) => {
            answer(Ok(ChangeReport::of(reason)));
        }
        Request::Change(_, answer) => answer(Err(ControlError::Unknown("there is none".to_owned()))),
        Request::Trace { answer, .. } => answer(vec!["eth0".to_owned()]),
        Request::EndTrace => {}
    }
}

fn config_of(serve: &Serve) -> Option<String> {
    xblade::config::to_json(serve).ok()
}

/// What has passed through a [`Stream`].
#[derive(Default)]
struct Seen {
    output: Vec<u8>,
    /// Whether anything has, since it was last asked.
    moved: bool,
}

/// A connection whose client sends the input, and then nothing more.
struct Stream {
    input: Arc<[u8]>,
    at: usize,
    seen: Arc<Mutex<Seen>>,
}

impl Default for Stream {
    fn default() -> Self {
        Self { input: Arc::from([]), at: 0, seen: Arc::default() }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(rest) = self.input.get(self.at..).filter(|rest| !rest.is_empty()) else {
            return Poll::Pending;
        };
        let part = rest.get(..to.remaining()).unwrap_or(rest);
        let taken = part.len();
        to.put_slice(part);
        self.at += taken;
        self.seen.lock().unwrap().moved = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let mut seen = self.seen.lock().unwrap();
        seen.moved = true;
        seen.output.extend_from_slice(from);
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
