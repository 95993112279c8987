//! Messages to the service manager, received on a socket like its own.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::daemon::xblade;
use crate::fuse::{FuseFile, On, Verdict};
use crate::image::{Dir, pattern, patterns};
use xblade_kit::{Daemon, Initiator, OURS, PATIENCE, PEER, Pair, apply, at, join, needs_root};

/// The watchdog timeout: a few passes of the control thread.
const WATCHDOG: Duration = Duration::from_secs(4);

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    /// Its name, or its path.
    name: String,
}

impl Manager {
    fn bind(address: &SocketAddr, name: String) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        Self { socket, name }
    }

    fn at_path(dir: &Dir) -> Self {
        let path = dir.path().join("notify");
        Self::bind(&SocketAddr::from_pathname(&path).unwrap(), path.display().to_string())
    }

    /// Starts the command with the environment that a service manager adds.
    fn start(&self, mut command: Command, pair: &Pair) -> Daemon {
        command.env("NOTIFY_SOCKET", &self.name);
        command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Daemon::spawn(&pair.ours, command)
    }

    /// The next message, if one arrives in time.
    fn hear(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).unwrap();
        let mut bytes = [0; 1024];
        let len = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..len].to_vec()).unwrap())
    }

    /// Waits for a message with this prefix; no other message may start with `never`.
    fn until(&self, wanted: &str, never: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.hear(left).unwrap_or_else(|| panic!("{wanted} did not come"));
            if message.starts_with(wanted) {
                return message;
            }
            assert!(!message.starts_with(never), "{message} came before {wanted}");
        }
    }
}

fn null() -> Command {
    xblade(&format!("serve --no-probe 0.1=x,store=null,length=8 -i {OURS}"))
}

#[apply(needs_root!)]
fn it_is_ready_when_it_answers_and_has_announced() {
    let (pair, dir) = (Pair::new(), Dir::new());
    for round in 0..5 {
        let manager = Manager::at_path(&dir);
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let daemon = manager.start(null(), &pair);
        let ready = manager.until("READY=1", "WATCHDOG");
        assert_eq!(ready, format!("READY=1\nSTATUS=1 export on {OURS}"));
        // What was sent has already arrived, so nothing more is waited for.
        assert!(host.announcement(Duration::from_millis(1)).is_some(), "round {round}: ready, not announced");
        assert!(host.query(at(0, 1), PATIENCE).is_some());
        daemon.signal(libc::SIGTERM);
        manager.until("STOPPING=1", "READY");
        assert_eq!(daemon.ended().status.code(), Some(0));
        std::fs::remove_file(dir.path().join("notify")).unwrap();
    }
}

/// The first request blocks the only worker before it has made the announcement.
#[apply(needs_root!)]
fn it_is_not_ready_before_the_announcement_went_out() {
    let pair = Pair::new();
    let waited = (0..10).any(|_| {
        let dir = Dir::new();
        let (manager, fuse) =
            (Manager::at_path(&dir), FuseFile::new(dir.path(), patterns(0, 4096, 0), false));
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let export = format!("0.1={},store=mmap", fuse.path().display());
        let command = xblade(&format!("serve --no-probe {export} -i {OURS} --cores 0"));
        let daemon = manager.start(command, &pair);
        // Dropped first: while it holds requests, the daemon cannot exit.
        let fuse = fuse;
        // Its store is open and nothing is attached yet. A request that waits in the ring
        // when the worker starts blocks it before it can announce anything.
        daemon.wait_for(" sectors (");
        fuse.set(On::Read, Verdict::Hold);
        // Without a pause: a request must be there when the worker first looks.
        let end = Instant::now() + PATIENCE;
        while fuse.held() == 0 {
            assert!(Instant::now() < end, "the worker does not wait");
            host.send_read(at(0, 1), 2048, 1);
        }
        let announced = host.announcement(Duration::from_millis(50)).is_some();
        if !announced {
            assert_eq!(manager.hear(Duration::from_millis(500)), None, "ready, and nothing announced");
        }
        fuse.set(On::Read, Verdict::Pass);
        fuse.release();
        manager.until("READY=1", "STOPPING");
        assert!(announced || host.announcement(Duration::from_millis(1)).is_some());
        daemon.stop();
        !announced
    });
    assert!(waited, "the announcement was faster ten times");
}

/// It serves once the link is up; until then the status must not suggest that hosts can see
/// it.
#[apply(needs_root!)]
fn a_link_that_is_down_is_reported() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let manager = Manager::at_path(&dir);
    let peer = |to: &str| pair.peer.sh(&format!("ip link set {PEER} {to}"));
    peer("down");
    let daemon = manager.start(null(), &pair);
    let ready = manager.until("READY=1", "WATCHDOG");
    assert_eq!(ready, format!("READY=1\nSTATUS=1 export on {OURS} (down)"));
    daemon.wait_for(&format!("ready: 1 export on {OURS} (down)"));
    peer("up");
    assert_eq!(manager.until("STATUS=", "STOPPING"), format!("STATUS=1 export on {OURS}"));
    peer("down");
    assert_eq!(manager.until("STATUS=", "STOPPING"), format!("STATUS=1 export on {OURS} (down)"));
    pair.ours.sh(&format!("ip link del {OURS}"));
    assert_eq!(manager.until("STATUS=", "STOPPING"), format!("STATUS=1 export on {OURS} (gone)"));
    daemon.stop();
}

#[apply(needs_root!)]
fn a_daemon_that_does_not_start_is_not_ready() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let manager = Manager::at_path(&dir);
    let command = xblade(&format!("serve --no-probe 0.1=/nonexistent/file -i {OURS}"));
    assert_eq!(manager.start(command, &pair).ended().status.code(), Some(3));
    assert_eq!(manager.hear(Duration::ZERO), None);
}

/// As systemd requires for Type=notify-reload: by SIGHUP, and with an end even if the file
/// is refused.
#[apply(needs_root!)]
fn a_reload_is_reported_with_its_beginning_and_end() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let manager = Manager::at_path(&dir);
    let file = dir.path().join("xblade.toml");
    let export = |slot| format!("[[export]]\naddress = \"0.{slot}\"\nstore = \"null\"\nlength = 8\n");
    let top = format!("interfaces = [\"{OURS}\"]\nprobe = false\n{}", export(1));
    let top = format!("{top}[service]\nstate = \"none\"\ncontrol = \"none\"\n");
    std::fs::write(&file, &top).unwrap();
    let daemon = manager.start(xblade(&format!("serve --config {}", file.display())), &pair);
    manager.until("READY=1", "WATCHDOG");
    for (text, status) in [
        (format!("{top}{}", export(2)), format!("2 exports on {OURS}")),
        ("nonsense".to_owned(), format!("2 exports on {OURS}; the last reload was refused, see the log")),
        (top.clone(), format!("1 export on {OURS}")),
    ] {
        std::fs::write(&file, text).unwrap();
        daemon.signal(libc::SIGHUP);
        let began = manager.until("RELOADING=1", "READY");
        assert!(began.contains("\nMONOTONIC_USEC="), "{began}");
        assert_eq!(manager.until("READY=1", "STOPPING"), format!("READY=1\nSTATUS={status}"));
    }
    daemon.stop();
}

#[apply(needs_root!)]
fn the_watchdog_is_fed_while_it_serves_and_while_it_is_idle() {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("xblade-test-{}-{number}", std::process::id());
    // Abstract names belong to a network namespace: that of the daemon.
    let pair = Pair::new();
    let bound = name.clone();
    let manager = pair
        .ours
        .run(move || Manager::bind(&SocketAddr::from_abstract_name(&bound).unwrap(), format!("@{bound}")));
    let daemon = manager.start(null(), &pair);
    manager.until("READY=1", "WATCHDOG");
    for _ in 0..3 {
        let came = manager.hear(WATCHDOG).expect("nothing within the watchdog's time");
        assert_eq!(came, "WATCHDOG=1");
    }
    daemon.stop();
}

/// A mapped store blocks its worker. The other worker and the control thread go on, but no
/// watchdog ping is sent.
#[apply(needs_root!)]
fn a_stuck_worker_starves_the_watchdog() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let manager = Manager::at_path(&dir);
    let fuse = FuseFile::new(dir.path(), patterns(0, 64, 0), false);
    let cores = if std::thread::available_parallelism().unwrap().get() < 2 { "0" } else { "0,1" };
    let exports = format!("0.1={},store=mmap 0.2=x,store=null,length=8", fuse.path().display());
    let command = xblade(&format!("serve --no-probe {exports} -i {OURS} --cores {cores}"));
    let daemon = manager.start(command, &pair);
    // Dropped first: while it holds requests, the daemon cannot exit.
    let fuse = fuse;
    manager.until("READY=1", "WATCHDOG");
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.until_served(at(0, 1));
    manager.until("WATCHDOG=1", "STOPPING");
    fuse.set(On::Write, Verdict::Hold);
    let tag = host.send_write(at(0, 1), 0, &pattern(0, 1));
    fuse.until_held(1);
    // One more may be for an earlier turn.
    let first = manager.hear(WATCHDOG / 2);
    assert_eq!(manager.hear(WATCHDOG), None, "fed while a worker was stuck, after {first:?}");
    fuse.release();
    host.answer(tag);
    manager.until("WATCHDOG=1", "STOPPING");
    daemon.stop();
}

/// The privileges to serve the new interface were dropped, so the service manager must
/// restart the process.
#[apply(needs_root!)]
fn an_interface_that_is_back_ends_the_service_to_be_restarted() {
    let (pair, dir) = (Pair::new(), Dir::new());
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    let (manager, image) = (Manager::at_path(&dir), dir.image("a", 8));
    let serve = || xblade(&format!("serve --no-probe 0.1={image} -i {OURS} -i xbp2"));
    let daemon = manager.start(serve(), &pair);
    manager.until("READY=1", "STOPPING=1");
    pair.ours.sh(&format!("ip link del {OURS}"));
    daemon.wait_for(&format!("{OURS} is gone"));
    let mut other = Initiator::new(&pair.peer, "xbp3", pair.ours.mac("xbp2"));
    other.write(at(0, 1), 2, &pattern(2, 1));
    join((&pair.ours, OURS), (&pair.peer, PEER), "");
    manager.until("STOPPING=1", "READY=1");
    let ended = daemon.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.text);
    let daemon = manager.start(serve(), &pair);
    manager.until("READY=1", "STOPPING=1");
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    assert_eq!(host.read(at(0, 1), 2, 1), pattern(2, 1), "served on the one that is back");
    daemon.stop();
}

/// A restart disturbs all hosts, and possibly no host needs the interface.
#[apply(needs_root!)]
fn an_interface_that_comes_later_is_shown_and_ends_nothing() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let manager = Manager::at_path(&dir);
    let command = xblade("serve --no-probe 0.1=x,store=null,length=8 -i xbp[0-9]");
    let mut daemon = manager.start(command, &pair);
    manager.until("READY=1", "STATUS");
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    let shown = manager.until("STATUS=", "STOPPING");
    assert_eq!(shown, format!("STATUS=1 export on {OURS}; not served until a restart: xbp2"));
    pair.ours.sh("ip link del xbp2");
    assert_eq!(manager.until("STATUS=", "STOPPING"), format!("STATUS=1 export on {OURS}"));
    assert!(daemon.is_running());
    daemon.stop();
}
