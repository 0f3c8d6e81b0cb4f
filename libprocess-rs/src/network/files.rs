//! Files as response bodies.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::io::{self, SeekFrom};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use nix::fcntl::OFlag;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::http::ByteRange;

/// Files are read in portions of this size.
const FILE_CHUNK_BYTES: usize = 64 * 1024;

/// An open file, and what of it is to be sent.
pub(super) struct OpenFile {
    file: File,
    /// Where the next read begins.
    position: u64,
    parts: VecDeque<Part>,
}

/// A piece of a body.
pub(super) enum Part {
    Text(Bytes),
    Range(ByteRange),
}

impl OpenFile {
    /// Opens a file to be sent as a whole.
    ///
    /// # Errors
    /// It cannot be opened; of kind `NotFound` also if it is something else, such as a directory.
    pub(super) async fn open(path: &Path) -> io::Result<(Self, Metadata)> {
        let mut options = OpenOptions::new();
        // To open a pipe for reading would wait for somebody who writes to it.
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(path).await?;
        let metadata = file.metadata().await?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is no file"));
        }
        let whole = ByteRange {
            start: 0,
            end: metadata.len(),
        };
        let file = Self {
            file,
            position: 0,
            parts: VecDeque::from([Part::Range(whole)]),
        };
        Ok((file, metadata))
    }

    /// Sends these instead.
    pub(super) fn send(&mut self, parts: impl IntoIterator<Item = Part>) {
        self.parts = parts.into_iter().collect();
    }

    /// How many bytes are left to be sent.
    pub(super) fn left(&self) -> u64 {
        let lengths = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.len() as u64,
            Part::Range(range) => range.len(),
        });
        lengths.sum()
    }

    /// The next bytes; `None` when all have been read.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter since it was opened.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.parts.pop_front() {
                None => return Ok(None),
                Some(Part::Text(text)) => return Ok(Some(text)),
                Some(Part::Range(range)) if range.len() == 0 => {}
                Some(Part::Range(range)) => return self.read(range).await.map(Some),
            }
        }
    }

    /// The first bytes of `range`; the rest is left for later.
    async fn read(&mut self, range: ByteRange) -> io::Result<Bytes> {
        if self.position != range.start {
            self.file.seek(SeekFrom::Start(range.start)).await?;
        }
        let wanted = usize::try_from(range.len()).unwrap_or(usize::MAX);
        let mut chunk = BytesMut::with_capacity(wanted.min(FILE_CHUNK_BYTES));
        let read = self.file.read_buf(&mut chunk).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position = range.start + read as u64;
        // The file may have grown.
        chunk.truncate(wanted);
        let start = range.start + chunk.len() as u64;
        if start < range.end {
            let rest = ByteRange { start, ..range };
            self.parts.push_front(Part::Range(rest));
        }
        Ok(chunk.freeze())
    }
}
