//! The record of what was done to the rules of a NIC.

use serde::{Deserialize, Serialize};

use super::rule_set::Rule;
use crate::link::FlowRule;
use crate::tune;

/// A rule inserted by xblade.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Its location in the table; `None` until the driver has reported it.
    pub location: Option<u32>,
}

impl Noted {
    /// Whether this rule of the NIC is the recorded one.
    pub fn is(&self, there: &FlowRule) -> bool {
        self.location.is_none_or(|location| location == there.location) && self.rule.is(there)
    }
}

/// Everything that was done.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// Rules were disabled, and were enabled for ours.
    pub switched_on: bool,
    /// Our rules.
    pub rules: Vec<Noted>,
    /// The request that they fulfil, once all of them are inserted. Required: other JSON is
    /// no record.
    #[serde(deserialize_with = "Option::deserialize")]
    pub wished: Option<Fulfilled>,
}

/// The queues and hosts of a request.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Fulfilled {
    pub queues: Vec<u32>,
    pub hosts: Vec<[u8; 6]>,
}

impl tune::Record for Record {}
