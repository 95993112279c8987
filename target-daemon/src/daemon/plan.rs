//! Sizes and assignments: rings, UMEM, workers and cores.

use core_affinity::CoreId;

use super::failure::Failure;
use crate::config::{self, AutoOff, Serve, Spread};
use crate::link::{self, Facts, Mode, Owned};
use crate::ring::{BusyPoll, LANES_MAX, SocketConfig, ZeroCopy};
use crate::shelf;
use crate::wire::aoe::Address;

/// This much of a chunk stays free in front of every received frame: the kernel uses 256
/// bytes, the rest aligns the frame's sectors (`ring`).
const HEADROOM: u32 = 476;

/// Bytes in a chunk.
const CHUNK_BYTES: u32 = 4096;

/// Ethernet header and two VLAN tags, which the MTU does not include.
const LINK_HEADER: u32 = 14 + 8;

/// The largest useful ring: a longer one would only hold requests that their initiators
/// have given up on.
const RING_MAX: u32 = 1 << 14;

/// The number of descriptors that a frame of this interface takes.
pub fn descriptors_per_frame(mtu: u32) -> u32 {
    (mtu + LINK_HEADER).div_ceil(CHUNK_BYTES - HEADROOM)
}

/// Refuses impossible sizes before anything is opened, and logs small ones.
pub fn check(options: &Serve, facts: &Facts) -> Result<(), Failure> {
    check_spread(options, link::kernel())?;
    let rx_ring = rings(options, facts, &reception(options, facts), 0, 1)?.rx_ring;
    let needed = descriptors_needed(options, facts);
    if u64::from(rx_ring) < needed.min(RING_MAX.into()) {
        log::warn!(
            "{}: {} initiators with {} requests each need {needed} rx entries, the ring has {rx_ring}: a burst \
             may be lost (lower --buffer-count or --initiators, or raise --rx-ring)",
            facts.name,
            options.initiators,
            options.buffer_count
        );
    }
    Ok(())
}

/// The first kernel with AF_XDP sockets for frames in several fragments.
pub const KERNEL_FRAGMENTS: (u32, u32) = (6, 6);

/// Older kernels do not report the features of drivers.
const KERNEL_FEATURES: (u32, u32) = (6, 3);

/// How xblade receives from an interface, as far as it does not depend on an answer of the
/// kernel.
pub struct Reception {
    /// Where the XDP program is to run.
    pub mode: Mode,
    /// Whether zero-copy is tried, or why not.
    pub zero_copy: Result<(), String>,
}

/// Chooses how to receive from an interface. Where a driver cannot do both, long frames are
/// preferred to zero-copy, because 16 sectors a frame instead of 4 save three of four
/// requests. A lower MTU chooses zero-copy, as does `--multi-fragment off` where the kernel
/// allows it (6.18 does, 7.3 does not).
pub fn reception(options: &Serve, facts: &Facts) -> Reception {
    let mode = match options.xdp_mode {
        config::XdpMode::Auto => Mode::Auto,
        config::XdpMode::Native => Mode::Native,
        config::XdpMode::Generic => Mode::Generic,
    };
    let fragments = descriptors_per_frame(facts.mtu);
    let reason = if options.zero_copy == AutoOff::Off {
        "--zero-copy off".to_owned()
    } else if mode == Mode::Generic {
        "generic mode has no zero-copy".to_owned()
    } else if facts.zero_copy.is_none() && link::kernel() >= KERNEL_FEATURES || facts.zero_copy == Some(false)
    {
        "the driver has no zero-copy".to_owned()
    } else if options.multi_fragment == AutoOff::Auto && facts.zero_copy_segments.max(1) < fragments {
        format!("the driver's zero-copy is for frames of one chunk, and MTU {} needs {fragments}", facts.mtu)
    } else {
        return Reception { mode, zero_copy: Ok(()) };
    };
    Reception { mode, zero_copy: Err(reason) }
}

/// The sectors that a frame carries. `multi_fragment`: it may have several chunks.
pub fn sectors(mtu: u32, multi_fragment: bool) -> u8 {
    const SECTORS_IN_CHUNK: u8 = 4;
    shelf::sectors_per_frame(mtu).min(if multi_fragment { u8::MAX } else { SECTORS_IN_CHUNK })
}

/// The socket configuration for a queue of an interface. By default the rx ring holds all
/// requests that the expected initiators may send at once: a request that finds it full is
/// lost, and a lost request stalls its initiator. Several sockets share the chunks, and
/// each may hold as many as its rx ring has entries.
pub fn rings(
    options: &Serve,
    facts: &Facts,
    reception: &Reception,
    queue: u32,
    sockets: usize,
) -> Result<SocketConfig, Failure> {
    let given = &options.rings;
    let rx_ring = ring_size(given.rx_ring, descriptors_needed(options, facts))?;
    Ok(SocketConfig {
        interface: facts.name.clone(),
        queue,
        chunks: chunks(given.huge_pages, rx_ring * (sockets as u32 + 1)),
        chunk_bytes: CHUNK_BYTES,
        rx_ring,
        tx_ring: rx_ring,
        huge_pages: given.huge_pages,
        zero_copy: if reception.zero_copy.is_ok() { ZeroCopy::Auto } else { ZeroCopy::Off },
        multi_fragment: options.multi_fragment == AutoOff::Auto,
        long_frames: descriptors_per_frame(facts.mtu) > 1,
        busy_poll: given.busy_poll.map(|micros| BusyPoll { micros, budget: given.busy_poll_budget }),
    })
}

/// The number of workers for interfaces with these queue counts: one for each configured
/// core, or otherwise one for each queue.
pub fn workers(options: &Serve, queues: impl Iterator<Item = u32>) -> usize {
    match options.cores.len() {
        0 => queues.max().unwrap_or(1).max(1) as usize,
        cores => cores,
    }
}

/// The error for an export that names a nonexistent worker.
pub fn no_such_worker(address: Address, worker: usize, workers: usize) -> Failure {
    let there = match workers {
        1 => "there is only worker 0".to_owned(),
        _ => format!("there are workers 0 to {}", workers - 1),
    };
    Failure::request(format!(
        "{address}: worker {worker} is not possible: {there} (one for each core that is named, or else for each \
         queue)"
    ))
}

/// The number of sockets of a queue: one, or one for each worker, so that the XDP program
/// can steer frames to the owner of their export. Each socket costs its worker one check
/// per turn, so by default only the first queue has several: NICs deliver frames that they
/// cannot classify there. If there are more workers than may share a UMEM, one socket
/// serves all of them.
pub fn sockets(options: &Serve, queue: u32, workers: usize, kernel: (u32, u32)) -> usize {
    match options.spread {
        _ if workers > LANES_MAX => 1,
        Spread::All => workers,
        Spread::Auto if queue == 0 && kernel >= KERNEL_SHARES => workers,
        Spread::Auto | Spread::Off => 1,
    }
}

/// Older kernels may complete, or receive into, a chunk of another socket that shares the
/// queue (copy mode; fixed in 6.16 to 6.18, and not in all maintained kernels): data would
/// be corrupted.
const KERNEL_SHARES: (u32, u32) = (6, 18);

/// Refuses shared queues on kernels that cannot do it.
pub fn check_spread(options: &Serve, (major, minor): (u32, u32)) -> Result<(), Failure> {
    if options.spread != Spread::All || (major, minor) >= KERNEL_SHARES {
        return Ok(());
    }
    Err(Failure::request(format!(
        "--spread all needs Linux 6.18, and this is {major}.{minor}: older kernels mix up the chunks of sockets that \
         share a queue: leave it out, or install a newer kernel"
    )))
}

/// The worker of the export at this index: the one that it names, or else the next in turn.
pub fn worker_of(export: &config::Export, at: usize, workers: usize) -> usize {
    export.worker.map_or(at % workers, usize::from)
}

/// The owner of each export.
pub fn owners(options: &Serve, workers: usize) -> Vec<Owned> {
    let owned = |(at, export): (usize, &config::Export)| {
        let Address { shelf, slot } = export.address;
        Owned { shelf, slot, worker: worker_of(export, at, workers) as u16 }
    };
    options.exports.iter().enumerate().map(owned).collect()
}

/// The UMEM size for all queues of an interface, in bytes.
pub fn umem_bytes(options: &Serve, facts: &Facts, workers: usize) -> Result<u64, Failure> {
    let (kernel, reception) = (link::kernel(), reception(options, facts));
    let of = |queue| {
        let wanted = rings(options, facts, &reception, queue, sockets(options, queue, workers, kernel))?;
        Ok(u64::from(wanted.chunks) * u64::from(wanted.chunk_bytes))
    };
    (0..facts.queues).map(of).sum()
}

/// The descriptors of all requests that the expected initiators may send at once.
fn descriptors_needed(options: &Serve, facts: &Facts) -> u64 {
    let requests = u64::from(options.initiators) * u64::from(options.buffer_count);
    requests * u64::from(descriptors_per_frame(facts.mtu))
}

fn ring_size(given: Option<u32>, needed: u64) -> Result<u32, Failure> {
    match given {
        None => Ok((needed.clamp(64, RING_MAX.into()) as u32).next_power_of_two()),
        Some(size) => config::ring(size)
            .map_err(|remedy| Failure::request(format!("--rx-ring {size} is not possible: {remedy}"))),
    }
}

/// Twice the descriptors, for as many frames that are with the workers, as far as 4 GiB hold
/// them. Memory on huge pages is allocated and freed in whole pages.
fn chunks(huge_pages: bool, descriptors: u32) -> u32 {
    let step = if huge_pages { huge_page_bytes() / CHUNK_BYTES } else { 1 };
    let most = u32::MAX / CHUNK_BYTES / step * step;
    (2 * descriptors).next_multiple_of(step).min(most)
}

/// The default huge page size: 2 MiB on most machines.
fn huge_page_bytes() -> u32 {
    let facts = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = facts.lines().find_map(|line| line.strip_prefix("Hugepagesize:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u32>().ok());
    kib.map_or(2 << 20, |kib| kib.saturating_mul(1024))
}

/// The configured cores, if each exists and is given once.
pub fn cores(options: &Serve) -> Result<Vec<CoreId>, Failure> {
    let there = core_affinity::get_core_ids().unwrap_or_default();
    let mut cores: Vec<CoreId> = Vec::new();
    for wanted in &options.cores {
        let Some(core) = there.iter().find(|core| core.id == *wanted) else {
            let ids: Vec<String> = there.iter().map(|core| core.id.to_string()).collect();
            return Err(Failure::system(
                &format!("--cores {wanted}"),
                format!("there is no such core for this process (there are {})", ids.join(", ")),
            ));
        };
        if cores.contains(core) {
            return Err(Failure::request(format!(
                "--cores: {wanted} is given twice, and two workers on one core wait for each other: give each once"
            )));
        }
        cores.push(*core);
    }
    Ok(cores)
}

/// The most requests in flight at the stores of one worker.
pub fn in_flight(options: &Serve) -> u16 {
    let requests = u32::from(options.initiators) * u32::from(options.buffer_count);
    requests.clamp(64, 1 << 14) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumbo_frames_take_several_descriptors() {
        for (mtu, expected) in [(1500, 1), (3598, 1), (3599, 2), (4200, 2), (9000, 3)] {
            assert_eq!(descriptors_per_frame(mtu), expected, "MTU {mtu}");
        }
    }

    #[test]
    fn memory_stays_below_4_gib() {
        for (descriptors, expected) in [(128, 256), (1 << 19, (1 << 20) - 1), (64 << 16, (1 << 20) - 1)] {
            assert_eq!(chunks(false, descriptors), expected, "{descriptors}");
        }
        let step = huge_page_bytes() / CHUNK_BYTES;
        assert_eq!((chunks(true, 100) % step, chunks(true, 1 << 19) % step), (0, 0));
    }

    #[test]
    fn queues_are_shared_only_where_the_kernel_keeps_chunks_apart() {
        let of = |spread| Serve { spread, ..Serve::default() };
        for (spread, queue, workers, kernel, expected) in [
            (Spread::Auto, 0, 4, (6, 18), 4),
            (Spread::Auto, 0, 4, (7, 0), 4),
            (Spread::Auto, 1, 4, (6, 18), 1),
            (Spread::Auto, 0, 4, (6, 17), 1),
            (Spread::Auto, 0, 4, (0, 0), 1),
            (Spread::All, 1, 4, (6, 18), 4),
            (Spread::Off, 0, 4, (6, 18), 1),
            (Spread::All, 0, 63, (6, 18), 63),
            (Spread::All, 0, 64, (6, 18), 1),
        ] {
            assert_eq!(
                sockets(&of(spread), queue, workers, kernel),
                expected,
                "{spread:?} {queue} {kernel:?}"
            );
        }
        assert!(check_spread(&of(Spread::All), (6, 17)).is_err());
        for (spread, kernel) in [(Spread::All, (6, 18)), (Spread::Auto, (6, 1)), (Spread::Off, (6, 1))] {
            assert!(check_spread(&of(spread), kernel).is_ok());
        }
    }

    #[test]
    fn ring_sizes_are_powers_of_two_that_hold_what_is_needed() {
        for (needed, expected) in [(1, 64), (512, 512), (1536, 2048), (1 << 20, 1 << 14)] {
            assert_eq!(ring_size(None, needed).ok(), Some(expected));
        }
        for bad in [0, 63, 100, 1 << 17] {
            assert!(ring_size(Some(bad), 1).is_err(), "{bad}");
        }
    }
}
