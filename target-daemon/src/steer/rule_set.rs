//! The rule sets that fulfil a request, best first.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::link::{FlowMatch, FlowRule};

/// The EtherType of ATA over Ethernet.
pub const AOE: u16 = 0x88a2;

/// The steering request for one interface.
#[derive(Clone, Debug)]
pub struct SteerRequest {
    /// The interface.
    pub interface: String,
    /// Its driver.
    pub driver: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// The number of its receive queues.
    pub queue_count: u32,
    /// The queues to use, at least one.
    pub queues: Vec<u32>,
    /// The hosts, assigned to the queues in turn.
    pub hosts: Vec<[u8; 6]>,
}

/// A rule of xblade.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The frames that it matches.
    #[serde(flatten)]
    pub matches: FlowMatch,
    /// Their queue.
    pub queue: u32,
}

impl Rule {
    /// Whether a rule of the NIC does the same.
    pub fn is(&self, there: &FlowRule) -> bool {
        there.matches == Some(self.matches) && there.queue == Some(self.queue)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} to queue {}", self.matches, self.queue)
    }
}

/// The fields by which frames are distinguished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSet {
    /// EtherType and source, each host to its queue; the rest by EtherType.
    HostsOfType,
    /// EtherType and source, and no rule for the rest: for NICs whose rules must all match
    /// the same fields.
    HostsOfTypeAlone,
    /// Source alone, each host to its queue; the rest by EtherType.
    HostsAndType,
    /// Source alone.
    Hosts,
    /// EtherType, to the first queue.
    Type,
    /// Our own address, to the first queue, for frames of any type.
    Destination,
}

impl RuleSet {
    /// The description for the operator.
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

    /// The rules, the least specific first: it must come after the others in the table.
    pub fn rules(self, request: &SteerRequest) -> Vec<Rule> {
        let first = request.queues.first().copied().unwrap_or(0);
        let aoe = FlowMatch { ether_type: Some(AOE), ..FlowMatch::default() };
        let all = Rule { matches: aoe, queue: first };
        let hosts = |ether_type| {
            let queues = request.queues.iter().copied().cycle();
            let matches = |host: &[u8; 6]| FlowMatch { source: Some(*host), ether_type, destination: None };
            let rule = |(host, queue)| Rule { matches: matches(host), queue };
            request.hosts.iter().zip(queues).map(rule).collect::<Vec<_>>()
        };
        match self {
            Self::HostsOfType => [vec![all], hosts(Some(AOE))].concat(),
            Self::HostsOfTypeAlone => hosts(Some(AOE)),
            Self::HostsAndType => [vec![all], hosts(None)].concat(),
            Self::Hosts => hosts(None),
            Self::Type => vec![all],
            Self::Destination => {
                let matches = FlowMatch { destination: Some(request.mac), ..FlowMatch::default() };
                vec![Rule { matches, queue: first }]
            }
        }
    }
}

/// NICs with a filter for each field instead of a rule table: two fields in one rule may
/// mean either of them, and the EtherType filter takes precedence over the address filter,
/// wherever their rules are.
const FILTERS_BY_FIELD: [&str; 2] = ["igb", "igc"];

/// The rule sets to try, in order.
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

/// The first rule set that this driver is known to accept; `None` if the driver is unknown,
/// `Some(None)` if it is known to accept none.
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

/// Whether a rule may catch frames that the request sends elsewhere.
pub fn catches(matches: FlowMatch, request: &SteerRequest) -> bool {
    let FlowMatch { destination, source, ether_type } = matches;
    ether_type.is_none_or(|kind| kind == AOE)
        && destination.is_none_or(|mac| mac == request.mac)
        && source.is_none_or(|mac| request.hosts.is_empty() || request.hosts.contains(&mac))
}
