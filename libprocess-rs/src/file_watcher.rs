//! Changes of files, as they happen.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::descriptor;

/// What is asked of the kernel for each directory.
const WATCHED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Read from the kernel at once: some hundred events.
const READ_BYTES: usize = 16 * 1024;

/// One change. Paths begin with what was given to the watcher.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Something has appeared under this name: new, or moved here from where nothing is watched, perhaps in place of what had
    /// the name before.
    Created(PathBuf),
    /// A file was written to and closed by the writer. Before that a reader could see half of it.
    Modified(PathBuf),
    /// The name is gone: removed, or moved to where nothing is watched.
    Removed(PathBuf),
    /// Something has a new name, perhaps in place of what had that name before.
    Renamed {
        /// The old name.
        from: PathBuf,
        /// The new name.
        to: PathBuf,
    },
    /// A directory that is watched, or in which a file is watched, was itself removed, moved or unmounted. Nothing in it is
    /// watched any more.
    Lost(PathBuf),
    /// Changes came faster than they were read and some are lost: what is watched has to be looked at anew.
    Overflowed,
}

/// Why files cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel gave no inotify instance; it has a limit per user, `fs.inotify.max_user_instances`.
    #[error("failed to start to watch files: {0}")]
    Start(#[source] io::Error),
    /// The directory is not there, is none, or is one too many for `fs.inotify.max_user_watches`.
    #[error("failed to watch directory '{}': {source}", directory.display())]
    Watch {
        /// The directory, which for a file is the one it is in.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path ends in `..` or is a root, so it is no file.
    #[error("failed to watch file '{}': it has no name", .0.display())]
    NoName(PathBuf),
    /// Events could not be read.
    #[error("failed to read changes of files: {0}")]
    Read(#[source] io::Error),
}

/// Tells of changes of files and directories, by inotify: no thread, no polling.
///
/// A file is watched through the directory it is in, so that it may come and go, and may be replaced by renaming another one over
/// it, which is how configuration, whitelists and credentials should be changed. Changes behind a symbolic link are not seen,
/// only those of the link itself. Events are in the order of the changes; each is told as long as the watcher is read faster
/// than the kernel's queue, 16,384 changes by default, fills.
///
/// It is a [`Stream`] too, which does not end.
///
/// Upstream has none; it polls whitelists.
///
/// ```
/// # use libprocess::file_watcher::{Event, FileWatcher};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = std::env::temp_dir().join(format!("watcher-{}", std::process::id()));
/// # std::fs::create_dir(&directory)?;
/// let whitelist = directory.join("whitelist");
/// let mut watcher = FileWatcher::new()?;
/// watcher.watch_file(&whitelist)?;
/// std::fs::write(&whitelist, "agent1\n")?;
/// assert_eq!(watcher.next().await?, Event::Created(whitelist.clone()));
/// assert_eq!(watcher.next().await?, Event::Modified(whitelist));
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileWatcher {
    inotify: AsyncFd<OwnedFd>,
    changes: Changes,
}

/// What is watched, and what has happened to it.
#[derive(Debug, Default)]
struct Changes {
    /// By the kernel's number for the directory, which may have several paths.
    directories: HashMap<i32, BTreeMap<PathBuf, Names>>,
    /// The first half of a renaming, with its cookie.
    moved: Option<(u32, Vec<PathBuf>)>,
    events: VecDeque<Event>,
}

/// What is watched in a directory: these names, or all.
type Names = Option<HashSet<OsString>>;

impl FileWatcher {
    /// A watcher of nothing yet. To be called within a tokio runtime that drives input and output.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn new() -> Result<Self, Error> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(io::Error::from)
            .and_then(descriptor::readable)
            .map_err(Error::Start)?;
        Ok(Self {
            inotify,
            changes: Changes::default(),
        })
    }

    /// Watches one file, or whatever has this name. It need not exist, but the directory it is in must.
    ///
    /// # Errors
    /// [`Error::NoName`] and [`Error::Watch`].
    pub fn watch_file(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::NoName(path.to_owned()));
        };
        if let Some(names) = self.add(directory)? {
            names.insert(name.to_owned());
        }
        Ok(())
    }

    /// Watches all that is directly in a directory.
    ///
    /// # Errors
    /// [`Error::Watch`].
    pub fn watch_directory(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        *self.add(path.as_ref())? = None;
        Ok(())
    }

    fn add(&mut self, path: &Path) -> Result<&mut Names, Error> {
        let opened = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        let number = inotify::add_watch(self.inotify.get_ref(), opened, WATCHED);
        let number = number.map_err(|error| Error::Watch {
            directory: opened.to_owned(),
            source: error.into(),
        })?;
        let paths = self.changes.directories.entry(number).or_default();
        let names = paths.entry(path.to_owned());
        Ok(names.or_insert_with(|| Some(HashSet::new())))
    }

    /// The next change. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn next(&mut self) -> Result<Event, Error> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            if let Some(event) = self.changes.events.pop_front() {
                return Poll::Ready(Ok(event));
            }
            let mut ready = ready!(self.inotify.poll_read_ready(cx)).map_err(Error::Read)?;
            match ready.try_io(|inotify| Ok(self.changes.read(inotify.get_ref())?)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Poll::Ready(Err(Error::Read(error))),
                // Not ready after all: the next round waits.
                Err(_) => {}
            }
        }
    }
}

impl Stream for FileWatcher {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(Some)
    }
}

impl Changes {
    /// Reads until something is to be told, or nothing is left.
    fn read(&mut self, inotify: &OwnedFd) -> rustix::io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
        let mut reader = Reader::new(inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => self.on_event(inotify, &event),
                Err(error) => {
                    self.on_moved_away();
                    // Only if nothing was read is it the caller's business.
                    return match self.events.is_empty() {
                        true => Err(error),
                        false => Ok(()),
                    };
                }
            }
            let pause = reader.is_buffer_empty() && self.moved.is_none();
            if pause && !self.events.is_empty() {
                return Ok(());
            }
        }
    }

    fn on_event(&mut self, inotify: &OwnedFd, event: &inotify::Event<'_>) {
        let (number, kind) = (event.wd(), event.events());
        let name = event
            .file_name()
            .map(|name| OsStr::from_bytes(name.to_bytes()));
        let paths = name.map_or_else(Vec::new, |name| self.paths(number, name));
        if kind.contains(ReadFlags::MOVED_TO) {
            let from = match self.moved.take_if(|(cookie, _)| *cookie == event.cookie()) {
                Some((_, from)) => from,
                None => Vec::new(),
            };
            self.on_moved_away();
            return self.on_moved(from, paths);
        }
        self.on_moved_away();
        if kind.contains(ReadFlags::MOVED_FROM) {
            self.moved = Some((event.cookie(), paths));
        } else if kind.contains(ReadFlags::CREATE) {
            self.events.extend(paths.into_iter().map(Event::Created));
        } else if kind.contains(ReadFlags::CLOSE_WRITE) {
            self.events.extend(paths.into_iter().map(Event::Modified));
        } else if kind.contains(ReadFlags::DELETE) {
            self.events.extend(paths.into_iter().map(Event::Removed));
        } else if kind.contains(ReadFlags::MOVE_SELF) {
            // The kernel would go on, under a path that is no longer true.
            let _ = inotify::remove_watch(inotify, number);
            self.on_lost(number);
        } else if kind.contains(ReadFlags::IGNORED) {
            self.on_lost(number);
        } else if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.events.push_back(Event::Overflowed);
        }
    }

    /// All watched paths of `name` in a directory.
    fn paths(&self, number: i32, name: &OsStr) -> Vec<PathBuf> {
        let watched = |names: &Names| names.as_ref().is_none_or(|names| names.contains(name));
        let paths = self.directories.get(&number).into_iter().flatten();
        paths
            .filter(|(_, names)| watched(names))
            .map(|(directory, _)| directory.join(name))
            .collect()
    }

    fn on_lost(&mut self, number: i32) {
        let lost = self.directories.remove(&number).unwrap_or_default();
        self.events.extend(lost.into_keys().map(Event::Lost));
    }

    /// The second half of a renaming did not follow.
    fn on_moved_away(&mut self) {
        if let Some((_, from)) = self.moved.take() {
            self.on_moved(from, Vec::new());
        }
    }

    fn on_moved(&mut self, from: Vec<PathBuf>, to: Vec<PathBuf>) {
        let (mut from, mut to) = (from.into_iter(), to.into_iter());
        loop {
            let event = match (from.next(), to.next()) {
                (Some(from), Some(to)) => Event::Renamed { from, to },
                (Some(from), None) => Event::Removed(from),
                (None, Some(to)) => Event::Created(to),
                (None, None) => return,
            };
            self.events.push_back(event);
        }
    }
}
