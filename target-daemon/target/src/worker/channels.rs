//! Channels between workers: bounded, with a wake fd for a sleeping receiver.

use std::io;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::idle::Waker;
use super::messages::{Finished, Inbound};

/// Maximum number of requests queued for a worker. It could not serve more in time: they
/// are dropped, and the initiators resend.
const JOBS_MAX: usize = 4096;

/// One worker's ends of all channels.
#[derive(Debug)]
pub struct WorkerChannels {
    inbounds: Receiver<Inbound>,
    done: Receiver<Finished>,
    peers: Vec<Peer>,
}

#[derive(Clone, Debug)]
struct Peer {
    inbounds: Sender<Inbound>,
    done: Sender<Finished>,
    waker: Waker,
}

impl WorkerChannels {
    /// Connects as many workers as `chunks` has entries. Each entry is the number of UMEM
    /// chunks in that worker's lanes; the channel for its finished requests holds that
    /// many, so returning one never fails.
    ///
    /// # Errors
    ///
    /// Those of `eventfd`.
    pub fn connect(chunks: &[usize]) -> io::Result<Vec<(Self, Waker)>> {
        let mut peers = Vec::new();
        let mut ends = Vec::new();
        for &chunks in chunks {
            let (jobs_in, inbounds) = bounded(JOBS_MAX);
            let (done_in, done) = bounded(chunks);
            let waker = Waker::new()?;
            peers.push(Peer { inbounds: jobs_in, done: done_in, waker: waker.clone() });
            ends.push((inbounds, done, waker));
        }
        let end = |(inbounds, done, waker)| (Self { inbounds, done, peers: peers.clone() }, waker);
        Ok(ends.into_iter().map(end).collect())
    }

    /// Passes a request to the worker that owns its export. Returns it if that worker's
    /// channel is full or there is no such worker.
    pub fn hand_over(&self, worker: u16, inbound: Inbound) -> Result<(), Inbound> {
        let Some(peer) = self.peers.get(usize::from(worker)) else { return Err(inbound) };
        match peer.inbounds.try_send(inbound) {
            Ok(()) => {
                peer.waker.wake();
                Ok(())
            }
            Err(e) => Err(e.into_inner()),
        }
    }

    /// Returns a finished request to the worker of its lane. Fails only if that worker is
    /// gone, and then so is the UMEM of the frame.
    pub fn give_back(&self, worker: u16, done: Finished) -> Result<(), Finished> {
        let Some(peer) = self.peers.get(usize::from(worker)) else { return Err(done) };
        match peer.done.try_send(done) {
            Ok(()) => {
                peer.waker.wake();
                Ok(())
            }
            Err(e) => Err(e.into_inner()),
        }
    }

    /// The next request that another worker received for us.
    pub fn next_inbound(&self) -> Option<Inbound> {
        self.inbounds.try_recv().ok()
    }

    /// The next of our requests that another worker has finished.
    pub fn next_finished(&self) -> Option<Finished> {
        self.done.try_recv().ok()
    }

    /// Number of requests waiting for us.
    pub fn inbound_waiting(&self) -> usize {
        self.inbounds.len()
    }

    /// Whether nothing is waiting for us.
    pub fn is_empty(&self) -> bool {
        self.inbounds.is_empty() && self.done.is_empty()
    }
}
