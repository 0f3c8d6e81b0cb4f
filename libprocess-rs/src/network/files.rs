//! Files as response bodies.

use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::http::{Body, Response, content_type};

/// Files are read in portions of this size.
const FILE_CHUNK_BYTES: usize = 64 * 1024;

/// An open file of which `left` bytes are to be sent.
pub(super) struct OpenFile {
    file: File,
    left: u64,
}

impl OpenFile {
    /// How many bytes are left to be sent.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes; `None` when all have been read.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter since it was opened.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let mut chunk = BytesMut::with_capacity(wanted.min(FILE_CHUNK_BYTES));
        if self.file.read_buf(&mut chunk).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The file may have grown.
        chunk.truncate(wanted);
        self.left -= chunk.len() as u64;
        Ok(Some(chunk.freeze()))
    }
}

/// The body of a response, ready to be sent.
pub(super) enum Opened {
    Bytes(Bytes),
    Stream(crate::http::StreamReader),
    File(OpenFile),
}

/// Opens the file of a response that has one, or turns the response into a 404.
pub(super) async fn open(response: Response) -> (StatusCode, http::HeaderMap, Opened) {
    let Response {
        status,
        mut headers,
        body,
    } = response;
    let path = match body {
        Body::Bytes(bytes) => return (status, headers, Opened::Bytes(bytes)),
        Body::Stream(reader) => return (status, headers, Opened::Stream(reader)),
        Body::File(path) => path,
    };
    match open_file(&path).await {
        Ok(file) => {
            if let (None, Some(known)) = (headers.get(CONTENT_TYPE), content_type(&path)) {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(known));
            }
            (status, headers, Opened::File(file))
        }
        Err(error) => {
            tracing::debug!("Cannot send '{}': {error}", path.display());
            let Response {
                status,
                headers,
                body,
            } = Response::status(StatusCode::NOT_FOUND);
            let bytes = match body {
                Body::Bytes(bytes) => bytes,
                Body::Stream(_) | Body::File(_) => Bytes::new(),
            };
            (status, headers, Opened::Bytes(bytes))
        }
    }
}

async fn open_file(path: &Path) -> io::Result<OpenFile> {
    let file = File::open(path).await?;
    let metadata = file.metadata().await?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(OpenFile {
        file,
        left: metadata.len(),
    })
}
