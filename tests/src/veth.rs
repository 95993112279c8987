//! `xblade serve` on one half of a veth pair, a raw socket on the other.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xblade::wire::DropReason;

use crate::frame::{Ask, QUERY, query};
use crate::{
    LARGE, LARGE_SECTORS, MAIN, PacketSocket, READ_ONLY, SENTINEL, SENTINEL_HOST, Space, Stand, TARGET_MAC,
    THIN, Target, xblade,
};

/// The halves of the pair. Each is alone in its namespace.
const TARGET_SIDE: &str = "xbc0";
const HOST_SIDE: &str = "xbc1";

/// Longest time from the start to the announcements.
const START_MAX: Duration = Duration::from_secs(20);

/// A daemon over real rings. Dropping it takes everything down.
pub struct VethTarget {
    daemon: Child,
    log: PathBuf,
    socket: PacketSocket,
    /// What the daemon sent before it was asked anything.
    pub announced: Vec<Vec<u8>>,
    // Last: the daemon is gone before its namespace.
    _host: Space,
    target: Space,
}

impl VethTarget {
    /// Starts the daemon on a stand. `options` are added to its command line;
    /// it is ready when it has announced `announcements` times.
    pub fn start(stand: &Stand, mtu: u32, options: &[&str], announcements: usize) -> Self {
        let program = xblade();
        let (host, target) = (Space::new(), Space::new());
        let [a, b, c, d, e, f] = TARGET_MAC;
        target.sh(&format!(
            "ip link add {TARGET_SIDE} mtu {mtu} address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} \
             numtxqueues 1 numrxqueues 1 type veth peer name {HOST_SIDE} mtu {mtu} numtxqueues 1 numrxqueues 1 &&
             ip link set {HOST_SIDE} netns {} && ip link set {TARGET_SIDE} up",
            host.tid()
        ));
        host.sh(&format!("ip link set {HOST_SIDE} up"));
        let socket = host.run(|| PacketSocket::open(HOST_SIDE)).expect("a raw socket");
        let mut command = Command::new(program);
        command.arg("serve").args(exports(stand)).args(["--interface", TARGET_SIDE, "--no-probe"]);
        // The rules change sizes for a moment.
        command.args(["--measure-every", "0"]);
        let log = stand.log();
        let output = std::fs::File::create(&log).expect("a log");
        command.args(options).stdin(Stdio::null()).stderr(output);
        // SAFETY: prctl is safe between fork and exec. It ends the daemon with
        // the thread that starts it, should this process be killed.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            })
        };
        let daemon = target.run(move || command.spawn()).expect("a process");
        let mut veth = Self { daemon, log, socket, announced: Vec::new(), _host: host, target };
        for _ in 0..announcements {
            let announced =
                veth.next_reply(START_MAX).expect("an announcement (see the log of xblade below)");
            veth.announced.push(announced);
        }
        veth.until_answered();
        veth
    }

    /// Asks until the answer comes. The kernel opens the way for frames some
    /// time after a link is up, and until then drops them without a word.
    pub fn until_answered(&mut self) {
        for tag in 1..=100 {
            let ask = Ask { tag, ..Ask::new(SENTINEL, QUERY, query(0, b"")).from(SENTINEL_HOST) };
            self.send(&ask.bytes());
            let is_its = |reply: &[u8]| reply.get(20..24) == Some(&tag.to_be_bytes()[..]);
            while let Some(reply) = self.next_reply(Duration::from_millis(100)) {
                if is_its(&reply) {
                    return;
                }
            }
        }
        panic!("the target does not answer");
    }

    /// Waits until the daemon has written this to its log.
    pub fn until_said(&self, text: &str) {
        let said = || std::fs::read_to_string(&self.log).unwrap_or_default().contains(text);
        let end = Instant::now() + START_MAX;
        while !said() {
            assert!(Instant::now() < end, "xblade did not say '{text}'");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a command line in the namespace of the daemon.
    pub fn sh(&self, line: &str) {
        self.target.sh(line);
    }

    /// Whether the daemon still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.daemon.try_wait(), Ok(None))
    }
}

fn exports(stand: &Stand) -> [String; 5] {
    let file = |address| stand.image(address).display().to_string();
    // Mapped stores answer in the order of the requests, which is how a bench
    // knows that nothing more will come.
    let text = |(shelf, slot), what| format!("{shelf}.{slot}={what}");
    [
        text(MAIN, file(MAIN) + ",store=mmap"),
        text(READ_ONLY, file(READ_ONLY) + ",ro,store=mmap"),
        text(THIN, file(THIN) + ",store=mmap"),
        text(LARGE, format!("zeros,store=null,length={LARGE_SECTORS}")),
        text(SENTINEL, file(SENTINEL) + ",store=mmap"),
    ]
}

impl Target for VethTarget {
    fn send(&mut self, frame: &[u8]) {
        self.socket.send(frame).expect("a frame that fits the link");
    }

    fn next_reply(&mut self, window: Duration) -> Option<Vec<u8>> {
        self.socket.receive(window).expect("a link that is up")
    }

    fn drops(&self) -> Option<[u64; DropReason::ALL.len()]> {
        None
    }
}

impl Drop for VethTarget {
    fn drop(&mut self) {
        // SAFETY: our own child, which has not been waited for: no other
        // process can have its number.
        unsafe { libc::kill(self.daemon.id() as i32, libc::SIGTERM) };
        for _ in 0..200 {
            if !self.is_running() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        if std::thread::panicking() {
            eprintln!("xblade said:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
