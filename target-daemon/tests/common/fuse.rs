//! A file on a simulated medium: a FUSE file system with one file, served by the test
//! itself.
//!
//! It is mounted in its own mount namespace, so nothing is left over. A held request
//! keeps its caller in uninterruptible sleep. So dropping the value answers all held
//! requests and aborts the connection, which makes later ones fail.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};

use crate::mounts::Mounts;

/// The name of the file.
const NAME: &str = "f";
const INODE: INodeNo = INodeNo(2);
/// Nothing changes the file except through the kernel.
const FOREVER: Duration = Duration::from_secs(1 << 20);

/// A kind of request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum On {
    Read,
    Write,
    Sync,
}

/// How a request is handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It succeeds.
    Pass,
    /// It fails with this errno and has no effect.
    Fail(i32),
    /// It is held until the test releases it.
    Hold,
    /// It succeeds after this time.
    Delay(Duration),
    /// It moves at most this many bytes.
    Short(usize),
}

type Held = Box<dyn FnOnce() + Send>;

struct State {
    bytes: Vec<u8>,
    verdicts: [Verdict; 3],
    calls: [u64; 3],
    held: Vec<Held>,
    direct: bool,
}

#[derive(Clone)]
struct Disk(Arc<Mutex<State>>);

/// The file. Mounted until dropped.
pub struct FuseFile {
    disk: Disk,
    mounts: Mounts,
    on: PathBuf,
    session: Option<BackgroundSession>,
}

impl FuseFile {
    /// A file with these bytes, mounted on a folder created in `dir`. With `direct` the
    /// kernel caches nothing, whatever the open flags, and the file cannot be mapped.
    pub fn new(dir: &Path, bytes: Vec<u8>, direct: bool) -> Self {
        Self::mount(dir, bytes, direct, ",allow_other")
    }

    /// One that only root may use.
    #[allow(dead_code, reason = "not for every test that has such a file")]
    pub fn of_root_alone(dir: &Path, bytes: Vec<u8>) -> Self {
        Self::mount(dir, bytes, false, "")
    }

    fn mount(dir: &Path, bytes: Vec<u8>, direct: bool, options: &'static str) -> Self {
        let on = dir.join("fuse");
        std::fs::create_dir_all(&on).unwrap();
        let state = State { bytes, verdicts: [Verdict::Pass; 3], calls: [0; 3], held: Vec::new(), direct };
        let disk = Disk(Arc::new(Mutex::new(state)));
        let mounts = Mounts::new();
        let (fs, target) = (disk.clone(), on.clone());
        let session = mounts.run(move || {
            let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
            let options = format!("fd={},rootmode=40000,user_id=0,group_id=0{options}\0", device.as_raw_fd());
            let target = c_path(&target);
            let (name, kind) = (c"xblade-test".as_ptr(), c"fuse".as_ptr());
            let flags = libc::MS_NODEV | libc::MS_NOSUID;
            // SAFETY: NUL-terminated strings that outlive the call.
            let code =
                unsafe { libc::mount(name, target.as_ptr().cast(), kind, flags, options.as_ptr().cast()) };
            assert_eq!(code, 0, "mount: {}", std::io::Error::last_os_error());
            Session::from_fd(fs, device.into(), SessionACL::All, Config::default()).unwrap().spawn().unwrap()
        });
        Self { disk, mounts, on, session: Some(session) }
    }

    /// The path by which any process can open it.
    pub fn path(&self) -> PathBuf {
        self.mounts.view(&self.on.join(NAME))
    }

    /// Handles all such requests this way from now on.
    pub fn set(&self, on: On, verdict: Verdict) {
        self.disk.state().verdicts[on as usize] = verdict;
    }

    /// The number of held requests.
    pub fn held(&self) -> usize {
        self.disk.state().held.len()
    }

    /// The number of such requests so far.
    pub fn calls(&self, on: On) -> u64 {
        self.disk.state().calls[on as usize]
    }

    /// Lets all requests pass, and answers held ones, oldest first.
    pub fn release(&self) {
        let held = {
            let mut state = self.disk.state();
            state.verdicts = [Verdict::Pass; 3];
            std::mem::take(&mut state.held)
        };
        held.into_iter().for_each(|held| held());
    }

    /// The contents of the medium.
    pub fn bytes(&self) -> Vec<u8> {
        self.disk.state().bytes.clone()
    }

    /// Waits until this number of requests is held.
    pub fn until_held(&self, count: usize) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.held() < count {
            assert!(Instant::now() < end, "{} of {count} requests came to be held", self.held());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for FuseFile {
    fn drop(&mut self) {
        self.release();
        let on = c_path(&self.on);
        self.mounts.run(move || {
            // SAFETY: a NUL-terminated string. The first call aborts the connection, even
            // if it fails because the file is open.
            unsafe {
                libc::umount2(on.as_ptr().cast(), libc::MNT_FORCE);
                libc::umount2(on.as_ptr().cast(), libc::MNT_DETACH);
            }
        });
        let _ = self.session.take().map(BackgroundSession::join);
        // Requests that came between the release and the abort.
        self.release();
    }
}

fn c_path(path: &Path) -> Vec<u8> {
    [path.as_os_str().as_bytes(), &[0]].concat()
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a request according to the verdict. `act` gets the maximum number of bytes
    /// to move, or the errno.
    fn judge(&self, on: On, act: impl FnOnce(&Self, Result<usize, i32>) + Send + 'static) {
        let mut state = self.state();
        state.calls[on as usize] += 1;
        let verdict = state.verdicts[on as usize];
        let disk = self.clone();
        match verdict {
            Verdict::Hold => state.held.push(Box::new(move || act(&disk, Ok(usize::MAX)))),
            other => {
                drop(state);
                match other {
                    Verdict::Fail(errno) => act(self, Err(errno)),
                    Verdict::Short(most) => act(self, Ok(most)),
                    Verdict::Delay(time) => {
                        _ = thread::spawn(move || {
                            thread::sleep(time);
                            act(&disk, Ok(usize::MAX));
                        })
                    }
                    Verdict::Pass | Verdict::Hold => act(self, Ok(usize::MAX)),
                }
            }
        }
    }

    fn attr(&self, ino: INodeNo) -> FileAttr {
        let size = self.state().bytes.len() as u64;
        let epoch = SystemTime::UNIX_EPOCH;
        let (kind, perm) =
            if ino == INODE { (FileType::RegularFile, 0o600) } else { (FileType::Directory, 0o700) };
        FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: epoch,
            mtime: epoch,
            ctime: epoch,
            crtime: epoch,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

fn errno(number: i32) -> Errno {
    Errno::from_i32(number)
}

impl Filesystem for Disk {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Allows many requests at a time, as a disk does.
        let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO | InitFlags::FUSE_ASYNC_READ);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == NAME {
            true => reply.entry(&FOREVER, &self.attr(INODE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attr(ino));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(size) = size {
            self.state().bytes.resize(size as usize, 0);
        }
        reply.attr(&FOREVER, &self.attr(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = if self.state().direct {
            FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
        } else {
            FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
        };
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.judge(On::Read, move |disk, outcome| match outcome {
            Err(number) => reply.error(errno(number)),
            Ok(most) => {
                let state = disk.state();
                let start = (offset as usize).min(state.bytes.len());
                let end = (start + most.min(size as usize)).min(state.bytes.len());
                reply.data(&state.bytes[start..end]);
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = data.to_vec();
        self.judge(On::Write, move |disk, outcome| match outcome {
            Err(number) => reply.error(errno(number)),
            Ok(most) => {
                let (start, taken) = (offset as usize, most.min(data.len()));
                let bytes = &mut disk.state().bytes;
                bytes.resize(bytes.len().max(start + taken), 0);
                bytes[start..start + taken].copy_from_slice(&data[..taken]);
                reply.written(taken as u32);
            }
        });
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.judge(On::Sync, move |_, outcome| match outcome {
            Err(number) => reply.error(errno(number)),
            Ok(_) => reply.ok(),
        });
    }

    /// Called at every close; nothing to do.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
