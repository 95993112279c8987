//! Writes a configuration as a file, with every default filled in.

use toml::{Table, Value};

use super::export::EVERYBODY;
use super::{Export, Serve, ServiceOptions};
use crate::store::{AUTO, OPTIONS, Opt, Options, SECTOR_BYTES, Value as Given, exactly};
use crate::wire::ether::Mac;

/// The configuration as the text of a configuration file.
///
/// # Errors
///
/// If a path is not UTF-8, since a file cannot contain it.
pub fn to_toml(serve: &Serve) -> Result<String, toml::ser::Error> {
    toml::to_string(&to_table(serve))
}

/// The configuration as JSON.
///
/// # Errors
///
/// No known case.
pub fn to_json(serve: &Serve) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&to_table(serve))
}

/// The configuration as a TOML table.
pub fn to_table(serve: &Serve) -> Table {
    let rings = &serve.rings;
    let number = |given: Option<u32>, word: &str| given.map_or(Value::from(word), Value::from);
    let mut polling = vec![("busy-poll", number(rings.busy_poll, "off"))];
    if rings.busy_poll.is_some() {
        polling.push(("busy-poll-budget", rings.busy_poll_budget.into()));
    }
    let sizes = [
        ("rx-ring", number(rings.rx_ring, "auto")),
        ("tx-ring", number(rings.tx_ring, "auto")),
        ("umem-chunks", number(rings.umem_chunks, "auto")),
        ("chunk-bytes", rings.chunk_bytes.into()),
        ("huge-pages", rings.huge_pages.into()),
    ];
    let cores: Vec<Value> = serve.cores.iter().map(|core| Value::Integer(*core as i64)).collect();
    section([
        ("interfaces", serve.interfaces.clone().into()),
        ("allow", allow(&serve.allow)),
        ("measure-every", serve.measure_every.into()),
        ("probe", (!serve.no_probe).into()),
        (
            "workers",
            section([("cores", cores.into()), ("idle", word(serve.idle)), ("spread", word(serve.spread))])
                .into(),
        ),
        ("rings", section(sizes.into_iter().chain(polling)).into()),
        (
            "xdp",
            section([
                ("mode", word(serve.xdp_mode)),
                ("zero-copy", word(serve.zero_copy)),
                ("multi-fragment", word(serve.multi_fragment)),
            ])
            .into(),
        ),
        (
            "limits",
            section([
                ("buffer-count", i64::from(serve.buffer_count).into()),
                ("initiators", i64::from(serve.initiators).into()),
            ])
            .into(),
        ),
        ("service", service(&serve.service).into()),
        ("export", serve.exports.iter().map(export).collect::<Vec<Value>>().into()),
    ])
}

fn section(rows: impl IntoIterator<Item = (&'static str, Value)>) -> Table {
    rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn service(service: &ServiceOptions) -> Table {
    let text = |path: &std::path::Path| Value::from(path.to_string_lossy().into_owned());
    let mut rows = vec![("control", Value::from(service.control.to_string()))];
    rows.extend(service.control_group.clone().map(|group| ("control-group", group.into())));
    rows.extend([
        ("metrics", service.metrics.to_string().into()),
        ("state", service.state.to_string().into()),
        ("sandbox", word(service.sandbox)),
        ("folders", service.folders.iter().map(|folder| text(folder)).collect::<Vec<Value>>().into()),
    ]);
    section(rows)
}

/// The word used on the command line.
fn word<T: clap::ValueEnum>(value: T) -> Value {
    value.to_possible_value().map_or_else(String::new, |word| word.get_name().to_owned()).into()
}

fn export(export: &Export) -> Value {
    let engine = export.store.engine();
    let mut rows = vec![("address", Value::from(export.address.to_string()))];
    rows.push(match export.store.path() {
        Some(path) => ("path", path.to_string_lossy().into_owned().into()),
        None => ("store", engine.name.into()),
    });
    let is_shown =
        |option: &&Opt| option.is_shown_with(engine) && (option.key != "store" || engine.access.is_some());
    rows.extend(
        OPTIONS.iter().filter(is_shown).map(|option| (option.key, setting(option, export.store.options()))),
    );
    if let Some(macs) = &export.allow {
        rows.push(("allow", allow(macs)));
    }
    rows.push(("worker", export.worker.map_or(AUTO.into(), |worker| i64::from(worker).into())));
    rows.push(("force", export.force.into()));
    section(rows).into()
}

/// The value of an option, or its default: also if it has no meaning beside the others, as
/// when an export was made read-only while it was served.
fn setting(option: &'static Opt, options: &Options) -> Value {
    let given = options.get(option.key).filter(|value| options.conflict(option, *value).is_none());
    match given {
        Some(Given::Yes) => true.into(),
        Some(Given::Bytes(bytes)) => size(bytes),
        Some(Given::Word(word)) => word.into(),
        Some(Given::Number(number)) => i64::from(number).into(),
        None => match option.default {
            "false" => false.into(),
            "0" => 0.into(),
            word => word.into(),
        },
    }
}

fn allow(macs: &[Mac]) -> Value {
    if macs.is_empty() {
        return EVERYBODY.into();
    }
    macs.iter().map(Mac::to_string).collect::<Vec<_>>().into()
}

/// A size in the largest unit of which it is a multiple, else in sectors.
fn size(bytes: u64) -> Value {
    exactly(bytes).map_or_else(|| Value::Integer((bytes / SECTOR_BYTES) as i64), Value::from)
}
