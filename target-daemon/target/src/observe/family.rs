//! The list of metrics. `docs/METRICS.md` explains them; a test compares the two.

/// The type of a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative counts up to fixed bounds.
    Histogram,
    /// Always 1; the information is in the labels.
    Info,
}

impl Kind {
    /// The OpenMetrics name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// A metric. All its samples have the same labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Family {
    /// Includes the unit, but not `_total` or `_info`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// "seconds", "bytes", or empty.
    pub unit: &'static str,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// One sentence of help.
    pub help: &'static str,
}

impl Family {
    /// The name in queries; for a histogram, without `_bucket`, `_sum` and `_count`.
    pub fn queried(&self) -> String {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{suffix}", self.name)
    }
}

macro_rules! families {
    ($($name:ident = $text:literal, $kind:ident, $unit:literal, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $name: Family = Family {
                name: $text,
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All metrics, in the order in which they are written.
        pub const ALL: &[Family] = &[$($name),*];
    };
}

families! {
    BUILD = "xblade_build", Info, "", ["version"], "The version that runs.";
    UPTIME = "xblade_uptime_seconds", Gauge, "seconds", [], "Time since the daemon was ready.";

    INTERFACE = "xblade_interface", Info, "", ["interface", "mac", "driver", "mode"],
        "An interface, and where its XDP program runs.";
    INTERFACE_UP = "xblade_interface_up", Gauge, "", ["interface"],
        "1 while the interface exists, is up and has a carrier.";
    INTERFACE_MTU = "xblade_interface_mtu_bytes", Gauge, "bytes", ["interface"], "The MTU of an interface.";
    XDP_FRAMES = "xblade_xdp_frames", Counter, "", ["interface", "verdict"],
        "Frames that the XDP program gave to a socket or left to the network stack.";
    DROPPED = "xblade_dropped_frames", Counter, "", ["where", "reason", "interface", "worker", "lane"],
        "Frames that got no reply, by the place where they ended.";

    RECEIVED = "xblade_received_frames", Counter, "", ["interface", "worker", "lane"],
        "Frames taken from a receive ring.";
    UNSTAMPED = "xblade_unstamped_frames", Counter, "", ["interface", "worker", "lane"],
        "Frames taken from a receive ring that the driver gave no time of arrival.";
    SENT = "xblade_sent_frames", Counter, "", ["interface", "worker", "lane"],
        "Frames put into a transmit ring.";
    CHUNKS = "xblade_lane_chunks", Gauge, "", ["interface", "worker", "lane"],
        "Chunks of memory that a lane has for frames.";
    CHUNKS_FREE = "xblade_lane_free_chunks", Gauge, "", ["interface", "worker", "lane"],
        "Chunks that are neither with the kernel nor in a frame.";

    BUSY = "xblade_worker_busy_seconds", Counter, "seconds", ["worker"], "Time in which a worker had work.";
    IDLE = "xblade_worker_idle_seconds", Counter, "seconds", ["worker"],
        "Time in which a worker had none, spinning or asleep.";
    SLEEPS = "xblade_worker_sleeps", Counter, "", ["worker"], "Times that a worker went to sleep.";
    REPLIES = "xblade_worker_replies", Counter, "", ["worker"], "Replies and announcements that a worker sent.";
    HANDED_OVER = "xblade_worker_handed_over", Counter, "", ["worker"],
        "Requests given to the worker that owns their export.";
    STUCK_OPERATIONS = "xblade_store_stuck_operations", Counter, "", ["worker"],
        "Operations that a store had not finished after 10 s.";
    TAGS_REUSED = "xblade_tags_reused", Counter, "", ["worker"],
        "Times that a host used a tag for two writes within 4 s.";
    NOT_REMEMBERED = "xblade_writes_not_remembered", Counter, "", ["worker"],
        "Writes of hosts beyond those that an export remembers.";
    KICK_ERRORS = "xblade_kick_errors", Counter, "", ["worker"], "Times that the kernel refused to send.";
    FAULTS = "xblade_store_faults", Counter, "", ["worker", "fault"], "Operations that a store failed.";
    INCONSISTENCIES = "xblade_inconsistencies", Counter, "", ["worker", "lane", "kind"],
        "Things that cannot happen unless a driver, the kernel or xblade has a bug.";

    EXPORT = "xblade_export", Info, "", ["export", "path", "store", "durability", "read_only", "worker"],
        "An export, and how its bytes are reached.";
    SIZE = "xblade_export_size_bytes", Gauge, "bytes", ["export"], "The size of an export.";
    READ_ONLY = "xblade_export_read_only", Gauge, "", ["export"], "1 while an export refuses writes by order.";
    DEGRADED = "xblade_export_degraded", Gauge, "", ["export"],
        "1 when an export takes no more writes because a sync has failed.";
    STUCK = "xblade_export_stuck", Gauge, "", ["export"], "1 while the store of an export does not answer.";
    REPLACED = "xblade_export_replaced", Gauge, "", ["export"],
        "1 while the path of an export does not lead to the file that is served.";
    REFUSED = "xblade_export_refused", Gauge, "", ["export"],
        "1 for an export that is not served because hosts have used other data at its address.";
    IN_FLIGHT = "xblade_export_in_flight_requests", Gauge, "", ["export"],
        "Requests under way, and those that wait for these.";
    RESERVED = "xblade_export_reservation_holders", Gauge, "", ["export"],
        "Hosts that hold a reservation of an export.";
    MASKED = "xblade_export_mask_entries", Gauge, "", ["export"], "Hosts on the MAC mask list of an export.";
    HOST_CHANGES = "xblade_export_host_changes", Counter, "", ["export", "setting", "outcome"],
        "Requests of hosts to change the config string, mask list or reservation of an export.";
    READ_BYTES = "xblade_export_read_bytes", Counter, "bytes", ["export"], "Bytes that hosts have read.";
    WRITTEN_BYTES = "xblade_export_written_bytes", Counter, "bytes", ["export"],
        "Bytes that hosts have written.";
    WAITED = "xblade_export_waited_requests", Counter, "", ["export"],
        "Requests that waited for an earlier one to the same sectors.";
    FOLDED = "xblade_export_folded_writes", Counter, "", ["export"],
        "Resends of a write that was under way: answered with it.";
    REPEATED = "xblade_export_repeated_writes", Counter, "", ["export"],
        "Copies of a write that had been answered: answered again.";
    LIMITED = "xblade_export_limited_requests", Counter, "", ["export"],
        "Requests that waited for a limit of the export or of a host.";
    LIMITED_TIME = "xblade_export_limited_seconds", Counter, "seconds", ["export"],
        "Time that requests waited for a limit, of all together.";
    WAITING = "xblade_export_limit_waiting_requests", Gauge, "", ["export"],
        "Requests that wait for a limit now.";
    LIMIT_IOPS = "xblade_export_limit_iops", Gauge, "", ["export", "hosts"],
        "Requests per second that an export may get, of all hosts together or of each.";
    LIMIT_BYTES = "xblade_export_limit_bytes_per_second", Gauge, "", ["export", "hosts"],
        "Data per second that an export may move, for all hosts together or for each.";
    REQUESTS = "xblade_export_requests", Counter, "", ["export", "operation", "outcome"],
        "Requests to an export, by what was asked for and how it ended.";
    RESPONSE = "xblade_export_response_seconds", Histogram, "seconds", ["export", "operation"],
        "Time from the poll of the network driver to the reply.";
    SERVICE = "xblade_export_service_seconds", Histogram, "seconds", ["export", "operation"],
        "Time from the receive ring to the reply.";
    STORE = "xblade_export_store_seconds", Histogram, "seconds", ["export", "operation"],
        "Time that the store took.";
}
