//! A list of MAC addresses with a fixed capacity.

use crate::wire::ether::Mac;

/// The list is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListFull;

/// At most `N` addresses, in insertion order.
#[derive(Clone, Copy, Debug)]
pub struct MacList<const N: usize> {
    macs: [Mac; N],
    count: usize,
}

impl<const N: usize> Default for MacList<N> {
    fn default() -> Self {
        Self { macs: [Mac([0; 6]); N], count: 0 }
    }
}

impl<const N: usize> MacList<N> {
    /// The addresses.
    pub fn as_slice(&self) -> &[Mac] {
        self.macs.get(..self.count).unwrap_or(&[])
    }

    /// Whether the list contains `mac`.
    pub fn contains(&self, mac: Mac) -> bool {
        self.as_slice().contains(&mac)
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends `mac` unless it is already listed. Returns whether the list changed.
    pub fn add(&mut self, mac: Mac) -> Result<bool, ListFull> {
        if self.contains(mac) {
            return Ok(false);
        }
        *self.macs.get_mut(self.count).ok_or(ListFull)? = mac;
        self.count += 1;
        Ok(true)
    }

    /// Removes `mac`. Returns whether it was listed.
    pub fn delete(&mut self, mac: Mac) -> bool {
        let Some(at) = self.as_slice().iter().position(|&listed| listed == mac) else {
            return false;
        };
        self.macs.copy_within(at + 1..self.count, at);
        self.count -= 1;
        true
    }

    /// Replaces the whole list by `macs`, duplicates included. Changes nothing if they
    /// are too many.
    pub fn replace(&mut self, macs: impl Iterator<Item = Mac>) -> Result<(), ListFull> {
        let mut fresh = Self::default();
        for mac in macs {
            *fresh.macs.get_mut(fresh.count).ok_or(ListFull)? = mac;
            fresh.count += 1;
        }
        *self = fresh;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn order_is_kept_and_room_is_bounded() {
        let mut list = MacList::<3>::default();
        assert_eq!([list.add(mac(3)), list.add(mac(1)), list.add(mac(2))], [Ok(true); 3]);
        assert_eq!(list.add(mac(1)), Ok(false), "present: no change, even when full");
        assert_eq!(list.add(mac(4)), Err(ListFull));
        assert_eq!(list.as_slice(), [mac(3), mac(1), mac(2)]);
        assert!(list.delete(mac(1)));
        assert!(!list.delete(mac(1)));
        assert_eq!(list.as_slice(), [mac(3), mac(2)]);
        assert_eq!(list.add(mac(4)), Ok(true));
        assert!(list.delete(mac(4)), "the last one");
        assert!(list.delete(mac(3)) && list.delete(mac(2)) && list.is_empty());
    }

    #[test]
    fn replacement_is_all_or_nothing() {
        let mut list = MacList::<2>::default();
        assert_eq!(list.replace([mac(1), mac(1)].into_iter()), Ok(()));
        assert_eq!(list.replace([mac(2), mac(3), mac(4)].into_iter()), Err(ListFull));
        assert_eq!(list.as_slice(), [mac(1), mac(1)]);
        assert_eq!(list.replace(std::iter::empty()), Ok(()));
        assert!(list.is_empty());
    }
}
