//! Access lists: MAC addresses, and names for them. A name stands for a list in `[acl]`
//! or a host in /etc/ethers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::item::{Item, Section};
use crate::config::Serve;
use crate::config::bounds::HOSTS_MAX;
use crate::config::export::{EVERYBODY, of_host};
use crate::config::suggest::{mac_of_digits, suggest};
use crate::wire::ether::Mac;

/// Parses /etc/ethers: an address and a host name per line. Other lines are ignored.
pub fn ethers(text: &str) -> HashMap<String, Mac> {
    let host = |line: &str| {
        let line = line.split('#').next().unwrap_or("");
        let mut words = line.split_whitespace();
        let (mac, name) = (words.next()?, words.next()?);
        Some((name.to_owned(), of_ethers(mac)?))
    };
    text.lines().filter_map(host).collect()
}

/// Parses an address as in ethers(5), where leading zeros may be left out.
fn of_ethers(text: &str) -> Option<Mac> {
    let pairs: Vec<String> = text.split(':').map(|part| format!("{part:0>2}")).collect();
    pairs.join(":").parse().ok()
}

/// The most hosts of all lists, each counted in every list that it is in.
const TOTAL_MAX: usize = 1 << 20;

/// The most lists that a list may name, one through the other.
const NESTED_MAX: usize = 32;

/// The access lists of a file.
pub struct Acls<'a> {
    lists: BTreeMap<&'a str, Vec<Item<'a>>>,
    ethers: &'a HashMap<String, Mac>,
    resolved: HashMap<&'a str, Rc<[Mac]>>,
    /// How many more hosts lists may have.
    left: usize,
    /// The last `allow`.
    last: Option<Item<'a>>,
}

impl<'a> Acls<'a> {
    /// Reads `[acl]`, if present, and collects its errors.
    pub fn read(section: Option<Item<'a>>, ethers: &'a HashMap<String, Mac>) -> Self {
        let section = section.and_then(|section| section.section("[acl]"));
        let mut acls =
            Self { lists: BTreeMap::new(), ethers, resolved: HashMap::new(), left: TOTAL_MAX, last: None };
        let mut names = Vec::new();
        for item in section.into_iter().flat_map(Section::into_items) {
            if item.key == EVERYBODY || item.key.parse::<Mac>().is_ok() {
                let what = format!("{} cannot be the name of a list", item.key);
                item.fault(what, "give it another name");
            } else if let Some(list) = nobody(item, "[\"52:54:00:00:00:01\"]") {
                acls.lists.insert(item.key, list);
                names.push(item.key);
            }
        }
        for name in names {
            acls.list(name, &mut Vec::new());
        }
        acls
    }

    /// Resolves a list, including the lists that it refers to. `path` holds the lists
    /// being resolved, to detect cycles.
    fn list(&mut self, name: &'a str, path: &mut Vec<&'a str>) -> Rc<[Mac]> {
        if let Some(known) = self.resolved.get(name) {
            return Rc::clone(known);
        }
        let items = self.lists.get(name).cloned().unwrap_or_default();
        path.push(name);
        let macs: Rc<[Mac]> = self.hosts(items, path).into();
        path.pop();
        self.resolved.insert(name, Rc::clone(&macs));
        macs
    }

    /// The hosts that these entries stand for, each once, in their order.
    fn hosts(&mut self, items: Vec<Item<'a>>, path: &mut Vec<&'a str>) -> Vec<Mac> {
        let (mut macs, mut known) = (Vec::new(), HashSet::new());
        for item in items {
            if item.sink.is_full() || self.left == 0 {
                break;
            }
            let of = self.one(item, path);
            macs.extend(of.iter().filter(|mac| known.insert(**mac)));
            self.left = self.left.saturating_sub(of.len());
            if self.left == 0 {
                let what = format!(
                    "up to here the lists have {TOTAL_MAX} hosts and more, the same ones counted again"
                );
                item.fault(what, "name longer lists in fewer places");
            } else if macs.len() > HOSTS_MAX {
                macs.truncate(HOSTS_MAX);
                let what = format!("from here on {} has more than {HOSTS_MAX} hosts", item.key);
                let remedy = match item.key {
                    "allow" => "name fewer, or \"everybody\" in allow",
                    _ => "name fewer",
                };
                item.fault(what, remedy);
                break;
            }
        }
        macs
    }

    /// Resolves an entry of a list.
    fn one(&mut self, item: Item<'a>, path: &mut Vec<&'a str>) -> Rc<[Mac]> {
        let Some(text) = item.text("\"52:54:00:00:00:01\"") else { return Rc::default() };
        if let Some(from) = path.iter().position(|name| *name == text) {
            let mut names: Vec<&str> = path.iter().skip(from).copied().collect();
            names.push(text);
            item.fault(
                format!("the list {text} contains itself: {}", names.join(" -> ")),
                "take one of these names out of the list that has it",
            );
            return Rc::default();
        }
        if self.lists.contains_key(text) {
            if path.len() == NESTED_MAX {
                let what =
                    format!("{text} is the last of more than {NESTED_MAX} lists that each name the next");
                item.fault(what, "name hosts here");
                return Rc::default();
            }
            return self.list(text, path);
        }
        let named = || self.ethers.get(text).copied().or_else(|| self.unknown(item, text));
        let mac = text.parse::<Mac>().ok().or_else(named);
        mac.and_then(|mac| of_host(mac).map_err(|problem| item.fault(problem.what, problem.remedy)).ok())
            .into_iter()
            .collect()
    }

    fn unknown(&self, item: Item<'a>, text: &str) -> Option<Mac> {
        if text == EVERYBODY {
            return item
                .refuse("everybody stands in a list", "write allow = \"everybody\", or leave it out here");
        }
        if let Some(mac) = mac_of_digits(text) {
            return item.refuse(format!("{text} is not a MAC address"), format!("write \"{mac}\""));
        }
        if text.contains(':') {
            return item.refuse(
                format!("{text} is not a MAC address"),
                "write six pairs of hex digits, as in \"02:00:5e:10:00:01\"",
            );
        }
        let known = self.lists.keys().copied().chain(self.ethers.keys().map(String::as_str));
        let remedy = match suggest(text, known.map(|name| (name, name))) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "make a list with this name in [acl], or a line in /etc/ethers".to_owned(),
        };
        item.refuse(format!("there is no list and no host with the name {text}"), remedy)
    }

    /// The value of `allow`; an empty list admits all.
    pub fn allow(&mut self, item: Item<'a>) -> Option<Vec<Mac>> {
        if item.as_text() == Some(EVERYBODY) {
            return Some(Vec::new());
        }
        self.last = Some(item);
        self.listed(item)
    }

    /// The value of another key for hosts, which must name them. `for_all` is the remedy for
    /// `everybody`.
    pub fn named(&mut self, item: Item<'a>, for_all: &str) -> Option<Vec<Mac>> {
        let is_all = |item: &Item<'_>| item.as_text() == Some(EVERYBODY);
        let all = std::iter::once(item).chain(item.as_list().unwrap_or_default()).find(is_all);
        match all {
            Some(all) => all.refuse(format!("{} cannot be everybody", item.key), for_all),
            None => self.listed(item),
        }
    }

    fn listed(&mut self, item: Item<'a>) -> Option<Vec<Mac>> {
        let list = nobody(item, "[\"52:54:00:00:00:01\"]")?;
        let macs = self.hosts(list, &mut Vec::new());
        // An empty list here is due to errors; it must not admit all.
        (!macs.is_empty()).then_some(macs)
    }
}

/// Reports if the XDP program has no room for all hosts of the access lists together.
pub fn too_many(serve: &Serve, acls: &Acls<'_>) {
    let hosts = serve.allowed_somewhere().len();
    if let Some(item) = acls.last.filter(|_| hosts > HOSTS_MAX) {
        let what = format!("with this list, {hosts} hosts are allowed, and the most is {HOSTS_MAX}");
        item.fault(what, "allow fewer, or allow = \"everybody\" for one export");
    }
}

/// The entries of a list. An empty list is an error.
fn nobody<'a>(item: Item<'a>, example: &str) -> Option<Vec<Item<'a>>> {
    let list = item.list(example)?;
    if list.is_empty() {
        let remedy = if item.key == "allow" {
            "name hosts, or write allow = \"everybody\""
        } else if item.key == "hosts" {
            "name hosts, or leave the section out"
        } else {
            "name hosts, or leave the list out"
        };
        return item.refuse(format!("{} names nobody", item.key), remedy);
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethers_has_addresses_and_names() {
        let text = "# hosts\n52:54:00:00:00:01 backup\n2:0:5e:10:0:1\tdb # old\nnonsense\n1:2 short\n\n";
        let hosts = ethers(text);
        assert_eq!(hosts.len(), 2);
        assert_eq!(hosts.get("backup"), Some(&Mac([0x52, 0x54, 0, 0, 0, 1])));
        assert_eq!(hosts.get("db"), Some(&Mac([2, 0, 0x5e, 0x10, 0, 1])));
    }
}
