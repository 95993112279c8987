//! Data read back equals the data written.

use std::fs;

use xblade::store::{Access, IoError, Kind, OpenOptions, QUEUE_MAX};

use crate::fixture::*;

#[test]
fn what_was_written_is_read_whatever_the_pieces() {
    let scratch = Scratch::new();
    let cuts: [&[usize]; 5] =
        [&[], &[512], &[1, 2, 3], &[500, 24, 500, 0, 1], &[1023, 1, 1024, 511, 1, 0, 7]];
    for options in [OpenOptions::new(scratch.path("d")), volatile(&scratch.path("v"))] {
        fs::write(&options.path, vec![0u8; 64 << 10]).unwrap();
        let mut store = open(&options);
        for (round, cuts) in cuts.iter().enumerate() {
            // Not page-aligned, and across a page border.
            let sector = 3 + 7 * round as u64;
            let data = pattern(round as u8, 8192);
            run(&mut *store, Kind::Write, sector, &mut data.clone(), cuts).unwrap();
            for cuts in [&[][..], cuts] {
                let mut memory = vec![0; 8192];
                run(&mut *store, Kind::Read, sector, &mut memory, cuts).unwrap();
                assert_eq!(memory, data, "{options:?} {cuts:?}");
            }
            let start = sector as usize * 512;
            assert_eq!(fs::read(&options.path).unwrap()[start..start + 8192], data);
        }
        flush(&mut *store).unwrap();
        assert_eq!(store.degraded(), None);
    }
}

#[test]
fn the_last_sector_is_in_and_the_next_is_out() {
    let scratch = Scratch::new();
    // Not a multiple of a page.
    let path = scratch.file("f", &pattern(1, 19 * 512));
    for options in [OpenOptions::new(&path), volatile(&path)] {
        let mut store = open(&options);
        assert_eq!(store.geometry().sectors, 19);
        write(&mut *store, 18, &pattern(9, 512)).unwrap();
        assert_eq!(read(&mut *store, 18, 512).unwrap(), pattern(9, 512));
        for (sector, bytes) in [(19, 512), (18, 1024), (0, 20 * 512), (u64::MAX, 512), (u64::MAX / 512, 512)]
        {
            assert_eq!(read(&mut *store, sector, bytes), Err(IoError::Range), "{sector}");
            assert_eq!(write(&mut *store, sector, &vec![1; bytes]), Err(IoError::Range), "{sector}");
        }
        assert_eq!(write(&mut *store, 0, &[1; 100]), Err(IoError::Range), "no whole sector");
        assert_eq!(read(&mut *store, 19, 0), Ok(vec![]), "nothing at the end");
        assert_eq!(size(&path), 19 * 512);
    }
}

#[test]
fn an_extent_keeps_to_itself() {
    let scratch = Scratch::new();
    for (offset, length, sectors) in
        [(512, Some(1024), 2), (4096, Some(4096), 8), (3 * 512, None, 37), (39 * 512, None, 1)]
    {
        let before = pattern(5, 40 * 512);
        let path = scratch.file("f", &before);
        for options in [
            extent(&path, offset, length),
            OpenOptions { durability: xblade::store::Durability::Volatile, ..extent(&path, offset, length) },
        ] {
            let mut store = open(&options);
            assert_eq!(store.geometry().sectors, sectors);
            let start = offset as usize;
            let end = start + 512 * sectors as usize;
            let got = read(&mut *store, 0, end - start).unwrap();
            write(&mut *store, 0, &vec![0xAA; end - start]).unwrap();
            assert_eq!(write(&mut *store, sectors, &[0xBB; 512]), Err(IoError::Range));
            let after = fs::read(&path).unwrap();
            assert_eq!(after[start..end], vec![0xAA; end - start]);
            assert_eq!((&after[..start], &after[end..]), (&before[..start], &before[end..]));
            assert!(got == before[start..end] || got == vec![0xAA; end - start]);
        }
    }
}

#[test]
fn a_read_only_store_reads_and_takes_no_write() {
    let scratch = Scratch::new();
    let path = scratch.file("f", &pattern(1, 4096));
    for options in [read_only(&path), OpenOptions { read_only: true, ..volatile(&path) }] {
        let mut store = open(&options);
        assert_eq!(read(&mut *store, 1, 512).unwrap(), pattern(1, 4096)[512..1024]);
        assert_eq!(write(&mut *store, 1, &[0; 512]), Err(IoError::ReadOnly));
        assert_eq!(flush(&mut *store), Ok(()));
        assert_eq!(fs::read(&path).unwrap(), pattern(1, 4096));
    }
}

#[test]
fn a_write_by_another_program_is_seen() {
    let scratch = Scratch::new();
    let path = scratch.file("f", &[0; 4096]);
    let mut store = open(&OpenOptions::new(&path));
    assert_eq!(read(&mut *store, 7, 512).unwrap(), [0; 512]);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|file| std::os::unix::fs::FileExt::write_all_at(&file, &[7; 512], 7 * 512))
        .unwrap();
    assert_eq!(read(&mut *store, 7, 512).unwrap(), [7; 512]);
}

#[test]
fn refresh_follows_the_size_of_the_file() {
    let scratch = Scratch::new();
    for durable in [true, false] {
        let path = &scratch.file("f", &pattern(1, 8 * 512));
        let mut store = by(durable, path);
        truncate(path, (1 << 20) + 100);
        assert_eq!(store.geometry().sectors, 8, "unseen until refreshed");
        assert_eq!(read(&mut *store, 8, 512), Err(IoError::Range));
        assert_eq!(measure(&mut *store), 2048);
        write(&mut *store, 2047, &pattern(2, 512)).unwrap();
        assert_eq!(read(&mut *store, 2047, 512).unwrap(), pattern(2, 512));

        truncate(path, 3 * 512);
        assert_eq!(measure(&mut *store), 3);
        assert_eq!(read(&mut *store, 2, 512).unwrap(), pattern(1, 8 * 512)[1024..1536]);
        assert_eq!(read(&mut *store, 3, 512), Err(IoError::Range));
        assert_eq!(write(&mut *store, 3, &[1; 512]), Err(IoError::Range));
        // Nothing left to map: the old size stays, and reads fail because the data is gone.
        truncate(path, 0);
        assert_eq!((measure(&mut *store), store.geometry().sectors), (3, 3));
        assert_eq!(read(&mut *store, 0, 512), Err(IoError::Media));
    }
    let fixed = scratch.file("fixed", &pattern(1, 8 * 512));
    let mut store = open(&extent(&fixed, 0, Some(2048)));
    truncate(&fixed, 1 << 20);
    assert_eq!(measure(&mut *store), 4, "an explicit length stays");
}

#[test]
fn a_full_queue_executes_nothing() {
    let scratch = Scratch::new();
    let path = scratch.file("f", &[0; 512]);
    let mut store = if matches!(access(), Access::Mapped | Access::Descriptor) {
        open(&volatile(&path))
    } else {
        return; // the operations of others end later
    };
    let operation = |kind, memory: &mut [u8]| {
        let mut buffers = xblade::store::IoVec::empty();
        // SAFETY: the memory is not touched while the operation exists.
        assert!(unsafe { buffers.push(memory) });
        xblade::store::Op { token: 3, kind, sector: 0, buffers }
    };
    for _ in 0..QUEUE_MAX {
        store.submit(operation(Kind::Read, &mut [0; 512])).unwrap();
    }
    let mut data = [1; 512];
    let back = store.submit(operation(Kind::Write, &mut data)).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), [0; 512]);
    assert!(store.complete().is_some());
    store.submit(back.0).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [1; 512]);
    assert_eq!(std::iter::from_fn(|| store.complete()).count(), QUEUE_MAX);
}
