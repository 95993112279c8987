//! A counter is one row of a table: its field, its help, and the metric that shows it.
//! Every report, document and metric is made from these rows.

use std::borrow::Cow;

use super::family::Family;

/// A counter with its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// Its name in reports.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: u64,
    /// The metric that shows it; `None` if only reports do.
    pub metric: Option<Metric>,
}

/// A place among the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// The metric.
    pub family: &'static Family,
    /// Values of its labels, in their order, without those that say whose counter it is:
    /// `interface`, `worker`, `lane`, `export`.
    pub labels: [&'static str; 2],
}

impl Count {
    /// A counter that only reports show.
    pub fn new(name: &'static str, value: u64) -> Self {
        Self { name: name.into(), value, metric: None }
    }

    /// The same counter, also shown by a metric.
    #[must_use]
    pub fn shown(self, family: &'static Family, labels: &[&'static str]) -> Self {
        let label = |at: usize| labels.get(at).copied().unwrap_or_default();
        Self { metric: Some(Metric { family, labels: [label(0), label(1)] }), ..self }
    }
}

/// Declares a struct of counters. Each row is a field, and with `in` the metric that shows
/// it: `media_faults in FAULTS("media")`.
macro_rules! counters {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$doc:meta])* $field:ident $(in $family:ident $(($($label:literal),+))?)?,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl $name {
            /// All counters, in the order of reports.
            pub fn rows(&self) -> Vec<$crate::observe::Count> {
                vec![$(
                    $crate::observe::Count::new(stringify!($field), self.$field)
                        $(.shown(&$crate::observe::family::$family, &[$($($label),+)?]))?,
                )*]
            }
        }
    };
}

pub(crate) use counters;
