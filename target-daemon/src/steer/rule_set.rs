//! The sets of rules that do what is wished for, the best first.

use crate::link::FlowMatch;

/// ATA over Ethernet.
pub const AOE: u16 = 0x88a2;

/// What is wished for on one interface.
#[derive(Clone, Debug)]
pub struct SteerRequest {
    /// The interface.
    pub interface: String,
    /// Its driver.
    pub driver: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its receive queues.
    pub queue_count: u32,
    /// Those to use, at least one.
    pub queues: Vec<u32>,
    /// The hosts, in turn over the queues.
    pub hosts: Vec<[u8; 6]>,
}

/// One rule to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which frames.
    pub matches: FlowMatch,
    /// Where to.
    pub queue: u32,
}

/// What the frames are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSet {
    /// EtherType and source, each host to its queue; the rest by EtherType.
    HostsOfType,
    /// EtherType and source, and no rule for the rest: for NICs whose rules all
    /// have to ask for the same fields.
    HostsOfTypeAlone,
    /// Source alone, each host to its queue; the rest by EtherType.
    HostsAndType,
    /// Source alone.
    Hosts,
    /// EtherType, to the first queue.
    Type,
    /// Our own address, to the first queue: whatever the frames are.
    Destination,
}

impl RuleSet {
    /// What it means for the operator.
    pub fn describe(self) -> &'static str {
        match self {
            Self::HostsOfType => "AoE of each host to its queue, all other AoE to the first",
            Self::HostsOfTypeAlone => {
                "AoE of each host to its queue: the driver takes one kind of rule at a time, so other hosts come in \
                 where the NIC likes"
            }
            Self::HostsAndType => {
                "everything from each host to its queue, other AoE to the first: the driver tells the hosts \
                 apart, but not by EtherType as well"
            }
            Self::Hosts => "everything from each host to its queue; other hosts come in where the NIC likes",
            Self::Type => "all AoE to one queue, by its EtherType",
            Self::Destination => {
                "everything that is sent to this interface to one queue: the driver has no rule by EtherType. Broadcasts \
                 still come in where the NIC likes"
            }
        }
    }

    /// The rules, the least specific first: it has to lie behind the others.
    pub fn rules(self, request: &SteerRequest) -> Vec<Wanted> {
        let first = request.queues.first().copied().unwrap_or(0);
        let all = Wanted { matches: by(None, None, Some(AOE)), queue: first };
        let hosts = |ether_type| {
            let queues = request.queues.iter().copied().cycle();
            let rule = move |(host, queue)| Wanted { matches: by(None, Some(host), ether_type), queue };
            request.hosts.iter().copied().zip(queues).map(rule).collect::<Vec<_>>()
        };
        match self {
            Self::HostsOfType => [vec![all], hosts(Some(AOE))].concat(),
            Self::HostsOfTypeAlone => hosts(Some(AOE)),
            Self::HostsAndType => [vec![all], hosts(None)].concat(),
            Self::Hosts => hosts(None),
            Self::Type => vec![all],
            Self::Destination => vec![Wanted { matches: by(Some(request.mac), None, None), queue: first }],
        }
    }
}

fn by(destination: Option<[u8; 6]>, source: Option<[u8; 6]>, ether_type: Option<u16>) -> FlowMatch {
    FlowMatch::Ether { destination, source, ether_type }
}

/// NICs with a filter for each field, rather than a table of rules: two fields in
/// one rule may mean either, and the filter by EtherType goes before that by
/// address, wherever their rules lie.
const FILTERS_BY_FIELD: [&str; 2] = ["igb", "igc"];

/// The ways to try, in their order.
pub fn ways(request: &SteerRequest) -> Vec<RuleSet> {
    let by_field = FILTERS_BY_FIELD.contains(&request.driver.as_str());
    let hosts: &[RuleSet] = match (request.hosts.is_empty(), by_field) {
        (true, _) => &[],
        (false, true) => &[RuleSet::Hosts],
        (false, false) => {
            &[RuleSet::HostsOfType, RuleSet::HostsOfTypeAlone, RuleSet::HostsAndType, RuleSet::Hosts]
        }
    };
    [hosts, &[RuleSet::Type, RuleSet::Destination]].concat()
}

/// The first way that drivers of this name are known to take: `None` where
/// nothing is known, `Some(None)` where it is known that there is none.
pub fn known(request: &SteerRequest) -> Option<Option<RuleSet>> {
    let with_hosts = |way| if request.hosts.is_empty() { RuleSet::Type } else { way };
    match request.driver.as_str() {
        "mlx5_core" => Some(Some(with_hosts(RuleSet::HostsOfType))),
        "ice" => Some(Some(with_hosts(RuleSet::HostsOfTypeAlone))),
        "igb" | "igc" => Some(Some(with_hosts(RuleSet::Hosts))),
        "iavf" => Some(Some(RuleSet::Type)),
        "ixgbe" | "i40e" => Some(None),
        _ => None,
    }
}

/// Whether a rule may catch frames that are wished elsewhere.
pub fn catches(matches: FlowMatch, request: &SteerRequest) -> bool {
    let FlowMatch::Ether { destination, source, ether_type } = matches else { return false };
    ether_type.is_none_or(|kind| kind == AOE)
        && destination.is_none_or(|mac| mac == request.mac)
        && source.is_none_or(|mac| request.hosts.is_empty() || request.hosts.contains(&mac))
}
