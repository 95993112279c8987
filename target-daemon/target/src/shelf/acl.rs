//! The access list: the initiators that get replies, from the configuration.

use std::sync::Arc;

use crate::wire::ether::Mac;

/// The initiators that get replies. If empty, all do.
///
/// All exports of a shelf share it. Unlike the mask list it cannot be changed over the
/// wire. It protects against mistakes, not attackers: source addresses are easily forged.
#[derive(Clone, Default, Debug)]
pub struct Acl {
    sorted: Arc<[Mac]>,
}

impl Acl {
    /// An access list of these addresses, in any order.
    pub fn new(macs: impl IntoIterator<Item = Mac>) -> Self {
        let mut sorted: Vec<Mac> = macs.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted: sorted.into() }
    }

    /// Whether a frame from `src` may be answered.
    pub fn admits(&self, src: Mac) -> bool {
        self.sorted.is_empty() || self.sorted.binary_search(&src).is_ok()
    }

    /// The addresses, sorted.
    pub fn as_slice(&self) -> &[Mac] {
        &self.sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_admits_everybody_and_a_list_only_its_own() {
        let mac = |last| Mac([2, 0, 0, 0, 0, last]);
        assert!(Acl::default().admits(mac(1)));
        let acl = Acl::new([mac(9), mac(1), mac(5), mac(1)]);
        for last in 0..=10 {
            assert_eq!(acl.admits(mac(last)), [1, 5, 9].contains(&last), "{last}");
        }
        assert_eq!(acl.as_slice(), [mac(1), mac(5), mac(9)]);
    }
}
