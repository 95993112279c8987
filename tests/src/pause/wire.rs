//! Sends frames over a chosen lane: an interface of the host, and one of its queues.
//!
//! ```text
//! core 1 ── old ──┐             ┌─► queue q ─► worker q
//!                 ├─ XPS, veth ─┤
//! core 0 ── new ──┘             └─► queue r ─► worker r
//! ```
//!
//! A raw socket that bypasses the queueing discipline (PACKET_QDISC_BYPASS) sends through
//! the queue that XPS assigns to the sending core. So each of the two ways has its own
//! core, and the masks of the queues aim the ways at lanes.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use xblade_kit::PacketSocket;

use super::cores::Cores;
use super::steer;
use crate::Space;

/// An interface and one of its queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lane {
    /// Index of the interface.
    pub interface: usize,
    /// Index of its queue.
    pub queue: usize,
}

/// One of the two ways, each aimed at a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The way on which the old write waits.
    Old,
    /// The way of its resend and of the newer write.
    New,
}

/// How the queue of a frame is selected.
enum Steering {
    /// By the sending core: the mask of each queue of each interface.
    Cores(Vec<Vec<File>>),
    /// By its length: see [`super::steer`].
    Length,
}

/// The host's side of all links.
pub struct Wire {
    sockets: Vec<PacketSocket>,
    steering: Steering,
    lanes: [Lane; 2],
    /// The original cores of this thread, restored at the end.
    all: Cores,
    cores: [usize; 2],
    at: Cell<Way>,
}

impl Wire {
    /// Opens `names` in the namespace of the host, which must have its own mounts.
    pub fn open(host: &Space, names: &[String], queues: usize) -> io::Result<Self> {
        // /sys/class/net shows the namespace of the process that mounted it.
        host.sh("mount -t sysfs sysfs /sys");
        let names = names.to_vec();
        let opened =
            host.run(move || names.iter().map(|name| open(name, queues)).collect::<io::Result<Vec<_>>>());
        let (sockets, masks) = opened?.into_iter().unzip();
        Self::new(sockets, Steering::Cores(masks))
    }

    /// Opens the taps of a VM, with two queues each, in the namespace of this thread.
    pub fn over_taps(names: &[String]) -> io::Result<Self> {
        let open = |name: &String| {
            steer::by_length(name)?;
            PacketSocket::open(name)
        };
        let sockets: io::Result<_> = names.iter().map(open).collect();
        Self::new(sockets?, Steering::Length)
    }

    fn new(sockets: Vec<PacketSocket>, steering: Steering) -> io::Result<Self> {
        let all = Cores::of(0)?;
        let [new, old, ..] = all.list()[..] else {
            return Err(io::Error::other("two cores are needed, one for each way"));
        };
        let lane = Lane { interface: 0, queue: 0 };
        Ok(Self { sockets, steering, lanes: [lane; 2], all, cores: [old, new], at: Cell::new(Way::New) })
    }

    /// The core that sends on this way.
    pub fn core(&self, way: Way) -> usize {
        self.cores[way as usize]
    }

    /// The original cores of this thread.
    pub fn all_cores(&self) -> Cores {
        self.all
    }

    /// Aims each way at one lane.
    pub fn aim(&mut self, old: Lane, new: Lane) -> io::Result<()> {
        self.lanes = [old, new];
        let masks = if let Steering::Cores(masks) = &self.steering { &masks[..] } else { &[] };
        for (interface, queues) in masks.iter().enumerate() {
            for (queue, file) in queues.iter().enumerate() {
                let is = |way: Way| self.lanes[way as usize] == Lane { interface, queue };
                let ways = [Way::Old, Way::New].into_iter().filter(|way| is(*way));
                let mask: u32 = ways.map(|way| 1 << self.core(way)).sum();
                file.write_all_at(format!("{mask:x}").as_bytes(), 0)?;
            }
        }
        self.turn_to(self.at.get())
    }

    /// The interface of a way.
    pub fn interface(&self, way: Way) -> usize {
        self.lanes[way as usize].interface
    }

    /// The way of the frame that was sent last.
    pub fn way(&self) -> Way {
        self.at.get()
    }

    /// Sends a frame. One that cannot be sent counts as lost.
    pub fn send(&self, way: Way, mut frame: Vec<u8>) {
        if way != self.at.get() {
            self.turn_to(way).expect("a core of ours");
        }
        let Lane { interface, queue } = self.lanes[way as usize];
        if matches!(self.steering, Steering::Length) {
            frame.resize(frame.len().max(60), 0);
            frame.resize(frame.len() + (frame.len() + queue) % 2, 0);
        }
        let _ = self.sockets[interface].send(&frame);
    }

    fn turn_to(&self, way: Way) -> io::Result<()> {
        self.at.set(way);
        Cores::one(self.core(way)).give(0)
    }

    /// The next frame from any interface, if one arrives in time. With `spin`, this thread
    /// does not give up its core.
    pub fn receive(&self, until: Instant, spin: bool) -> io::Result<Option<Vec<u8>>> {
        loop {
            for socket in &self.sockets {
                if let Some(frame) = socket.receive(Duration::ZERO)? {
                    return Ok(Some(frame));
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if !spin {
                self.sleep(left)?;
            }
        }
    }

    fn sleep(&self, time: Duration) -> io::Result<()> {
        let entry =
            |socket: &PacketSocket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut polls: Vec<_> = self.sockets.iter().map(entry).collect();
        let time = libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        // SAFETY: the given number of entries; everything outlives the call.
        let result =
            unsafe { libc::ppoll(polls.as_mut_ptr(), polls.len() as u64, &raw const time, std::ptr::null()) };
        match result {
            0.. => Ok(()),
            _ => match io::Error::last_os_error() {
                // A signal that requests the end: the caller checks for it.
                error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                error => Err(error),
            },
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.all.give(0);
    }
}

fn open(name: &str, queues: usize) -> io::Result<(PacketSocket, Vec<File>)> {
    let socket = PacketSocket::open(name)?;
    socket.bypass_queueing()?;
    let mask = |queue| format!("/sys/class/net/{name}/queues/tx-{queue}/xps_cpus");
    let masks = (0..queues).map(|queue| OpenOptions::new().write(true).open(mask(queue)));
    Ok((socket, masks.collect::<io::Result<_>>()?))
}
