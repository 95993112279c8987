//! The exports of a worker.

use super::export::Export;
use crate::wire::aoe::Address;

/// Two exports have the same address. Initiators would treat them as two paths to the
/// same data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("address {0} is given to two exports: give each its own")]
pub struct Taken(pub Address);

/// The exports of a worker, sorted by address.
#[derive(Debug, Default)]
pub struct Shelf {
    exports: Vec<Export>,
}

impl Shelf {
    /// Adds an export. Invalidates all indices.
    pub fn insert(&mut self, export: Export) -> Result<(), Taken> {
        let address = export.state.settings.address;
        match self.place(address) {
            Ok(_) => Err(Taken(address)),
            Err(at) => {
                self.exports.insert(at, export);
                Ok(())
            }
        }
    }

    /// All exports, sorted by address.
    pub fn into_exports(self) -> impl Iterator<Item = Export> {
        self.exports.into_iter()
    }

    /// The export with this index.
    pub fn get(&self, index: usize) -> Option<&Export> {
        self.exports.get(index)
    }

    /// The export with this index.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Export> {
        self.exports.get_mut(index)
    }

    /// All exports, sorted by address.
    pub fn iter(&self) -> impl Iterator<Item = &Export> {
        self.exports.iter()
    }

    /// All exports, sorted by address.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Export> {
        self.exports.iter_mut()
    }

    /// Number of exports.
    pub fn len(&self) -> usize {
        self.exports.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exports.is_empty()
    }

    fn place(&self, address: Address) -> Result<usize, usize> {
        self.exports.binary_search_by_key(&address, |export| export.state.settings.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shelf::{Acl, Settings};
    use crate::store::{Completion, Durability, Full, Geometry, IoVec, Kind, Op, Store};
    use crate::wire::identify::{Names, Text};

    /// A store that only grows by one sector with each operation.
    struct Growing(u64);

    impl Store for Growing {
        fn geometry(&self) -> Geometry {
            Geometry::new(self.0, 512)
        }
        fn submit(&mut self, _: Op) -> Result<(), Full> {
            self.0 += 1;
            Ok(())
        }
        fn complete(&mut self) -> Option<Completion> {
            None
        }
    }

    fn export(shelf: u16, slot: u8) -> Export {
        let settings = Settings {
            address: Address { shelf, slot },
            read_only: false,
            durability: Durability::Durable,
            names: Names { serial: Text::new(""), firmware: Text::new(""), model: Text::new("") },
            acl: Acl::default(),
        };
        Export::new(settings, Box::new(Growing(8)))
    }

    fn shelf() -> Shelf {
        let mut table = Shelf::default();
        for (shelf, slot) in [(7, 1), (0, 0), (7, 0), (300, 1)] {
            table.insert(export(shelf, slot)).unwrap();
        }
        table
    }

    #[test]
    fn address_is_given_once() {
        let mut table = shelf();
        let error = table.insert(export(7, 1)).unwrap_err();
        assert_eq!(error, Taken(Address { shelf: 7, slot: 1 }));
        assert!(error.to_string().contains("7.1"));
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn refresh_tells_of_a_new_size() {
        let mut table = shelf();
        let export = table.get_mut(0).unwrap();
        assert_eq!(export.state.geometry.sectors, 8);
        assert!(!export.refresh(), "nothing has changed");
        let measure = Op { token: 0, kind: Kind::Measure, sector: 0, buffers: IoVec::EMPTY };
        export.store.submit(measure).unwrap();
        assert!(export.refresh());
        assert_eq!(export.state.identity().sectors, 9);
    }
}
