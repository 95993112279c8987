//! The query of `GET /v1/trace`.

use crate::wire::aoe::Address;

/// The default: one request in this many.
pub const EVERY: u32 = 100;

/// What a client wants to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceFilter {
    /// One request in this many; 0 for none.
    pub every: u32,
    /// Whether to include dropped frames.
    pub dropped: bool,
    /// Only requests to this export.
    pub export: Option<Address>,
}

impl TraceFilter {
    /// Parses a query: `every=10&dropped=true&export=0.1`. If only one of `every` and
    /// `dropped` is given, the other is off. Without both, it is one request in
    /// [`EVERY`], and dropped frames.
    ///
    /// # Errors
    ///
    /// The mistake and its remedy.
    pub fn parse(query: &str) -> Result<Self, String> {
        let (mut every, mut dropped, mut export) = (None, None, None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key {
                "every" => {
                    every = Some(value.parse().map_err(|_| {
                        format!(
                            "every={value}: is not a number up to {}: give every=1 for every request",
                            u32::MAX
                        )
                    })?);
                }
                "dropped" => {
                    dropped = Some(
                        value
                            .parse()
                            .map_err(|_| format!("dropped={value}: give dropped=true or dropped=false"))?,
                    );
                }
                "export" => export = Some(value.parse().map_err(|error| format!("export={value}: {error}"))?),
                _ => return Err(format!("{key:?} is not known here: give every, dropped or export")),
            }
        }
        let (every, dropped) = match (every, dropped) {
            (None, None) => (EVERY, true),
            (every, dropped) => (every.unwrap_or(0), dropped.unwrap_or(false)),
        };
        if every == 0 && !dropped {
            return Err("neither requests nor dropped frames are asked for: give every=1 or more, or \
                        dropped=true"
                .to_owned());
        }
        Ok(Self { every, dropped, export })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_not_wanted_unless_nothing_is() {
        let filter = |every, dropped, export| Ok(TraceFilter { every, dropped, export });
        let one = Address { shelf: 0, slot: 1 };
        for (query, expected) in [
            ("", filter(EVERY, true, None)),
            ("export=0.1", filter(EVERY, true, Some(one))),
            ("every=1", filter(1, false, None)),
            ("dropped=true", filter(0, true, None)),
            ("every=7&dropped=true&export=0.1", filter(7, true, Some(one))),
            ("every=0&dropped=true", filter(0, true, None)),
            ("every=7&dropped=false", filter(7, false, None)),
        ] {
            assert_eq!(TraceFilter::parse(query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_remedy() {
        for (query, part) in [
            ("every=0", "give every=1 or more, or dropped=true"),
            ("dropped=false", "give every=1 or more, or dropped=true"),
            ("every=", "give every=1"),
            ("every=-1", "give every=1"),
            ("every=4294967296", "up to 4294967295"),
            ("dropped", "give dropped=true"),
            ("dropped=1", "give dropped=true"),
            ("export=x", "SHELF.SLOT"),
            ("export=4095.0", "take 0 to 4094"),
            ("often=1", "give every, dropped or export"),
        ] {
            let said = TraceFilter::parse(query);
            assert!(said.as_ref().is_err_and(|said| said.contains(part)), "{query}: {said:?}");
        }
    }
}
