//! Messages between workers: bounded channels, and a wake fd for a worker that
//! sleeps.

use std::io;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::idle::Waker;
use super::messages::{Finished, Inbound};

/// Jobs that may wait for a worker. More than this is more than it can do in
/// time: they are dropped, and the initiators resend.
const JOBS_MAX: usize = 4096;

/// One worker's end of all channels.
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
    /// Ends for as many workers as there are entries in `chunks`: the number of
    /// UMEM chunks that each one's lanes have. That many finished jobs fit into
    /// its channel, so giving one back never fails.
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

    /// Hands a job to the owner of its export, or returns it: too many wait
    /// there already, or there is no such worker.
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

    /// Gives a finished job back to the worker of its lane; returns it if that
    /// worker is gone, which ends the life of the frame's memory too.
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

    /// The next job that another worker received for us.
    pub fn next_inbound(&self) -> Option<Inbound> {
        self.inbounds.try_recv().ok()
    }

    /// The next of our jobs that another worker has finished.
    pub fn next_finished(&self) -> Option<Finished> {
        self.done.try_recv().ok()
    }

    /// Jobs that wait for us.
    pub fn inbound_waiting(&self) -> usize {
        self.inbounds.len()
    }

    /// Whether nothing waits for us.
    pub fn is_empty(&self) -> bool {
        self.inbounds.is_empty() && self.done.is_empty()
    }
}
