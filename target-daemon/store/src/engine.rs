//! The store engines by name, and the store of an export: an engine with its options.

use std::fs;
use std::path::{Path, PathBuf};

use super::file_facts::Id;
use super::handed::Handed;
use super::options::{AUTO, Options, Value};
use super::select::{self, Opened};
use super::sharing::Expected;
use super::{Access, Data, Durability, OpenError, OpenOptions, Sync, open, ram};

/// Every engine, in the order of the documentation.
pub static ENGINES: [Engine; 6] = [
    Engine::of_files(AUTO, "what fits the file", Access::Fitting),
    Engine::of_files("direct", "past the page cache", Access::Direct),
    Engine::of_files("file", "through it", Access::Cached),
    Engine::of_files("mmap", "by a mapping", Access::Mapped),
    ram::NULL,
    ram::RAM,
];

/// A kind of store, selected by `store=NAME`.
#[derive(Debug)]
pub struct Engine {
    /// The value of `store`.
    pub name: &'static str,
    /// How it accesses its bytes, for a list of engines.
    pub help: &'static str,
    /// How it accesses its file; `None` for an engine without one, which needs a length.
    pub access: Option<Access>,
    /// The model name that hosts see; `None` for that of a file.
    pub(super) model: Option<&'static str>,
    /// Finds the identity of its data, before it is opened.
    pub(super) data: fn(&StoreSpec) -> Option<Data>,
    /// Opens it.
    pub(super) open: fn(&StoreSpec, Option<&Handed>) -> Result<Opened, OpenError>,
}

impl Engine {
    const fn of_files(name: &'static str, help: &'static str, access: Access) -> Self {
        Self {
            name,
            help,
            access: Some(access),
            model: None,
            data: |spec| open::data(&spec.file()?),
            open: |spec, handed| {
                select::open_with(&spec.file().ok_or_else(|| OpenError::missing(&spec.path))?, handed)
            },
        }
    }

    /// The engine with this name; `auto` for an unknown name.
    pub(super) fn named(name: &str) -> &'static Self {
        ENGINES.iter().find(|engine| engine.name == name).unwrap_or(&ENGINES[0])
    }
}

/// What an export serves, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreSpec {
    /// Empty if the engine has no file.
    path: PathBuf,
    options: Options,
}

impl StoreSpec {
    /// The store with these options, which must not conflict. An engine without a file
    /// ignores the path.
    pub fn new(path: impl Into<PathBuf>, options: Options) -> Self {
        let engine = options.engine();
        let path = if engine.access.is_some() { path.into() } else { PathBuf::new() };
        Self { path, options: options.without_defaults() }
    }

    /// Its engine.
    pub fn engine(&self) -> &'static Engine {
        self.options.engine()
    }

    /// Its options whose values are not the default.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its file or device, if it has one.
    pub fn path(&self) -> Option<&Path> {
        self.engine().access.map(|_| self.path.as_path())
    }

    /// The path, or the name of the engine if it has none.
    pub fn label(&self) -> &Path {
        self.path().unwrap_or(Path::new(self.engine().name))
    }

    /// Makes the path absolute. Exports are compared by absolute path.
    pub fn make_absolute(&mut self) {
        if let Some(Ok(whole)) = self.path().map(std::path::absolute) {
            self.path = whole;
        }
    }

    /// How its file is opened, if it has one.
    pub fn file(&self) -> Option<OpenOptions> {
        let options = &self.options;
        Some(OpenOptions {
            access: self.engine().access?,
            read_only: self.read_only(),
            offset_bytes: self.offset_bytes(),
            length_bytes: options.bytes("length"),
            durability: self.durability(),
            sync: match options.word("sync") {
                Some("each") => Sync::Each,
                Some("group") => Sync::Group,
                _ => Sync::Auto,
            },
            trim: options.word("trim").map(|word| word == "on"),
            pin: options.is_set("pin"),
            huge: options.is_set("huge"),
            path: self.path.clone(),
        })
    }

    /// Its length in bytes; 0 if it is not given.
    pub(super) fn length(&self) -> u64 {
        self.options.bytes("length").unwrap_or(0)
    }

    /// Whether it refuses writes.
    pub fn read_only(&self) -> bool {
        self.options.is_set("read-only")
    }

    /// Makes it refuse writes, or accept them again. Not for an engine without a file,
    /// which cannot refuse writes.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.options.set("read-only", read_only.then_some(Value::Yes));
    }

    /// What an acknowledged write survives.
    pub fn durability(&self) -> Durability {
        match self.engine().access.is_none() || self.options.word("durability") == Some("volatile") {
            true => Durability::Volatile,
            false => Durability::Durable,
        }
    }

    /// The model that hosts see.
    pub fn model(&self) -> &'static str {
        self.engine().model.unwrap_or(match self.durability() {
            Durability::Durable => "xblade",
            Durability::Volatile => "xblade volatile",
        })
    }

    /// Where it starts in its file, in bytes.
    pub fn offset_bytes(&self) -> u64 {
        self.options.bytes("offset").unwrap_or(0)
    }

    /// Opens it by its path, unless its open file is given, and locks it.
    ///
    /// # Errors
    ///
    /// An [`OpenError`] with the remedy.
    pub fn open(&self, handed: Option<&Handed>) -> Result<Opened, OpenError> {
        (self.engine().open)(self, handed)
    }

    /// The data that it would serve now; `None` if there is none.
    pub fn data(&self) -> Option<Data> {
        (self.engine().data)(self)
    }

    /// Checks whether it could be opened, as far as that is visible from outside.
    ///
    /// # Errors
    ///
    /// Why it could not.
    pub fn examine(&self, handed: Option<&Handed>) -> Result<(), OpenError> {
        self.file().map_or(Ok(()), |options| open::examine(&options, handed))
    }

    /// How its file would be accessed; `None` if it has none, or it cannot be examined.
    pub fn expected(&self) -> Option<Expected> {
        Expected::of(&self.file()?)
    }

    /// Whether both would serve some of the same bytes, judging by their paths, and one
    /// of them may write. Two names of one file are detected only when it is opened.
    pub fn overlaps(&self, other: &Self) -> bool {
        // Compares components, so that double slashes and single dots do not matter.
        self.meets(other, |ours, theirs| ours.components().eq(theirs.components()))
    }

    /// As [`Self::overlaps`], but judging by the files that are at their paths now.
    pub fn in_conflict(&self, other: &Self) -> bool {
        let id = |path: &Path| fs::metadata(path).ok().map(|facts| Id::of(&facts));
        self.meets(other, |ours, theirs| id(ours).is_some_and(|ours| Some(ours) == id(theirs)))
    }

    fn meets(&self, other: &Self, is_same: impl Fn(&Path, &Path) -> bool) -> bool {
        let (Some(ours), Some(theirs)) = (self.file(), other.file()) else { return false };
        is_same(&ours.path, &theirs.path)
            && !(ours.read_only && theirs.read_only)
            && ours.range().meets(theirs.range())
    }
}
