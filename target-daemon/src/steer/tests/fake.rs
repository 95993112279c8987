//! A simulated driver.

use std::cell::Cell;
use std::io;
use std::panic::resume_unwind;

use crate::link::{FlowMatch, FlowRule, FlowRules};

/// Which rules it accepts.
type Takes = fn(FlowMatch) -> bool;

#[derive(Clone)]
pub struct Fake {
    takes: Takes,
    pub rules: Vec<FlowRule>,
    pub is_on: bool,
    places: u32,
    chooses: bool,
    /// All its rules must match the same fields.
    same_fields: bool,
    /// It reports that it accepted a rule, and inserted another one.
    pub lies: bool,
    /// The number of changes made to it.
    pub changes: u32,
    /// The run is interrupted at this change: before it, or right after it.
    pub cut_at: Option<(u32, bool)>,
    /// The change that fails once with EIO.
    pub fails_at: Option<u32>,
    pub reads: Cell<u32>,
}

impl Fake {
    fn new(takes: Takes) -> Self {
        Self {
            takes,
            rules: Vec::new(),
            is_on: true,
            places: 16,
            chooses: false,
            same_fields: false,
            lies: false,
            changes: 0,
            cut_at: None,
            fails_at: None,
            reads: Cell::new(0),
        }
    }

    /// Accepts any rule on the Ethernet header.
    pub fn any() -> Self {
        Self::new(|_| true)
    }

    /// Accepts rules on the EtherType alone.
    pub fn by_type() -> Self {
        Self::new(|matches| {
            matches!(matches, FlowMatch { destination: None, source: None, ether_type: Some(_) })
        })
    }

    /// Accepts rules on MAC addresses, but not on the EtherType.
    pub fn by_mac() -> Self {
        Self::new(|matches| matches.ether_type.is_none())
    }

    /// Accepts rules on a single field.
    pub fn by_one_field() -> Self {
        Self::new(|matches| fields(matches).iter().filter(|is| **is).count() == 1)
    }

    /// Has a table, but accepts no Ethernet rule.
    pub fn refuses() -> Self {
        Self::new(|_| false)
    }

    /// Accepts any rule that matches the same fields as the existing rules.
    pub fn of_one_kind() -> Self {
        Self { same_fields: true, ..Self::any() }
    }

    pub fn with(mut self, rules: &[FlowRule]) -> Self {
        self.rules = rules.to_vec();
        self
    }

    pub fn places(mut self, places: u32) -> Self {
        self.places = places;
        self
    }

    pub fn switched_off(mut self) -> Self {
        self.is_on = false;
        self
    }

    pub fn that_chooses(mut self) -> Self {
        self.chooses = true;
        self
    }

    fn change(&mut self) -> io::Result<()> {
        let now = self.changes;
        self.changes += 1;
        if self.cut_at == Some((now, false)) {
            resume_unwind(Box::new("cut off"));
        }
        if self.fails_at == Some(now) { Err(no(libc::EIO)) } else { Ok(()) }
    }

    fn changed<T>(&self, value: T) -> io::Result<T> {
        if self.cut_at == Some((self.changes - 1, true)) {
            resume_unwind(Box::new("cut off"));
        }
        Ok(value)
    }
}

fn fields(matches: FlowMatch) -> [bool; 3] {
    [matches.destination.is_some(), matches.source.is_some(), matches.ether_type.is_some()]
}

fn no(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl FlowRules for Fake {
    fn is_on(&self) -> io::Result<bool> {
        Ok(self.is_on)
    }

    /// Loses its rules when they are disabled, as real drivers do.
    fn switch(&mut self, on: bool) -> io::Result<()> {
        self.change()?;
        self.is_on = on;
        if !on {
            self.rules.clear();
        }
        self.changed(())
    }

    fn locations(&self) -> io::Result<Option<u32>> {
        Ok((!self.chooses).then_some(self.places))
    }

    fn rules(&self) -> io::Result<Vec<FlowRule>> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.rules.clone())
    }

    fn insert(&mut self, matches: FlowMatch, queue: u32, location: Option<u32>) -> io::Result<u32> {
        self.change()?;
        if !self.is_on || !(self.takes)(matches) {
            return Err(no(libc::EOPNOTSUPP));
        }
        let mut others = self.rules.iter().filter_map(|rule| rule.matches);
        if self.same_fields && others.any(|other| fields(other) != fields(matches)) {
            return Err(no(libc::EINVAL));
        }
        if self.rules.len() as u32 >= self.places {
            return Err(no(libc::ENOSPC));
        }
        let taken = |place: u32| self.rules.iter().any(|rule| rule.location == place);
        let location = match location {
            Some(location) => location,
            None => (0..self.places).find(|place| !taken(*place)).ok_or_else(|| no(libc::ENOSPC))?,
        };
        assert!(location < self.places, "a place that is not there");
        // As in real drivers, the new rule replaces the old one.
        self.rules.retain(|rule| rule.location != location);
        let queue = if self.lies { 0 } else { queue };
        self.rules.push(FlowRule { location, matches: Some(matches), queue: Some(queue) });
        self.changed(location)
    }

    fn remove(&mut self, location: u32) -> io::Result<()> {
        self.change()?;
        let before = self.rules.len();
        self.rules.retain(|rule| rule.location != location);
        if self.rules.len() < before { self.changed(()) } else { Err(no(libc::ENOENT)) }
    }
}
