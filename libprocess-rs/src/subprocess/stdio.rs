//! Where the input of a process comes from and its output goes to.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process;

use super::Error;

/// The mode of files that are created for output, before the umask.
const FILE_MODE: u32 = 0o644;

/// One of the three standard streams of a process.
///
/// Upstream: `Subprocess::PIPE`, `PATH` and `FD`.
#[derive(Debug)]
pub enum Stdio {
    /// `/dev/null`.
    Null,
    /// That of the parent.
    Inherit,
    /// A pipe, whose other end is in [`Subprocess`](super::Subprocess).
    Pipe,
    /// A file: read from its start for input; for output appended to, and created with mode 0644 if there is none.
    Path(PathBuf),
    /// An open descriptor, such as a socket or the end of another pipe.
    Fd(OwnedFd),
}

/// Which of the three it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl Stream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Stdio {
    pub(super) fn open(self, stream: Stream) -> Result<process::Stdio, Error> {
        let path = match self {
            Self::Null => return Ok(process::Stdio::null()),
            Self::Inherit => return Ok(process::Stdio::inherit()),
            Self::Pipe => return Ok(process::Stdio::piped()),
            Self::Fd(fd) => return Ok(fd.into()),
            Self::Path(path) => path,
        };
        let mut options = OpenOptions::new();
        match stream {
            Stream::Stdin => options.read(true),
            Stream::Stdout | Stream::Stderr => options.append(true).create(true).mode(FILE_MODE),
        };
        match options.open(&path) {
            Ok(file) => Ok(file.into()),
            Err(source) => Err(Error::Open {
                stream: stream.name(),
                path,
                source,
            }),
        }
    }
}
