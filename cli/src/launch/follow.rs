//! Following a file in the sandbox of a task, through the agent's `/files/read`.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use http::StatusCode;
use libprocess::client::percent_encode;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use tokio::sync::watch;

use crate::http::{Client, HttpError};

/// How much is asked for at once; agents give at most this.
const MAX_CHUNK_BYTES: u64 = 64 * 1024;

/// How long to wait before asking again while a file does not grow: at first, and at most.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(10);
const POLL_INTERVAL_MAX: Duration = Duration::from_millis(250);

/// How often in a row an agent may fail to answer before we give up on a file.
const MAX_FAILURES: u32 = 20;

/// Why a file was not followed to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// The agent does not answer.
    #[error("cannot read '{path}': {source}")]
    Agent { path: String, source: HttpError },
    /// The agent refuses to show the file.
    #[error("cannot read '{path}': the agent at {authority} answers {status}: {reason}")]
    Refused {
        path: String,
        authority: String,
        status: StatusCode,
        reason: String,
    },
    /// The answer is no piece of a file.
    #[error("cannot read '{path}': the agent at {authority} gives no file: {source}")]
    Garbled {
        path: String,
        authority: String,
        source: serde_json::Error,
    },
    /// What was read cannot be written here.
    #[error("cannot write the output of the task: {0}")]
    Write(std::io::Error),
}

/// A file to follow.
pub(crate) struct Follower {
    client: Client,
    path: String,
    offset: u64,
}

impl Follower {
    /// Will follow the file that the agent asked by `client` knows as `path`.
    pub(crate) fn new(client: Client, path: String) -> Self {
        Follower {
            client,
            path,
            offset: 0,
        }
    }

    /// Copies the file to `out` as it grows, until `ended` is true and all of it is copied; a file
    /// that does not exist by then is empty. Returns the number of bytes.
    pub(crate) async fn follow<W: Write + Send + 'static>(
        mut self,
        mut out: W,
        mut ended: watch::Receiver<bool>,
    ) -> Result<u64, FollowError> {
        let mut interval = POLL_INTERVAL_MIN;
        let mut failures = 0;
        loop {
            // Looked at before reading: what is there after the end is all there will be.
            let last = *ended.borrow_and_update();
            match self.read().await {
                Ok(Some(data)) if !data.is_empty() => {
                    self.offset += data.len() as u64;
                    out = write(out, data).await?;
                    interval = POLL_INTERVAL_MIN;
                    failures = 0;
                    continue;
                }
                Ok(_) if last => return Ok(self.offset),
                Ok(_) => failures = 0,
                Err(FollowError::Agent { .. }) if failures < MAX_FAILURES => failures += 1,
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                // An error means that nobody can tell of the end any more: then this is it.
                changed = ended.changed(), if !last => if changed.is_err() {
                    return Ok(self.offset);
                },
            }
            interval = (interval * 2).min(POLL_INTERVAL_MAX);
        }
    }

    /// What follows the part that was read already; `None` when there is no such file (yet).
    async fn read(&mut self) -> Result<Option<Vec<u8>>, FollowError> {
        let path = percent_encode(&self.path);
        let offset = self.offset;
        let request = format!("/files/read?path={path}&offset={offset}&length={MAX_CHUNK_BYTES}");
        let answer = self.client.get(&request).await;
        let answer = answer.map_err(|source| FollowError::Agent {
            path: self.path.clone(),
            source,
        })?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => {
                return Err(FollowError::Refused {
                    path: self.path.clone(),
                    authority: self.client.authority(),
                    status,
                    reason: String::from_utf8_lossy(&answer.body).trim().to_owned(),
                });
            }
        }
        let piece: Piece =
            serde_json::from_slice(&answer.body).map_err(|source| FollowError::Garbled {
                path: self.path.clone(),
                authority: self.client.authority(),
                source,
            })?;
        Ok(Some(piece.data))
    }
}

/// Writes off the event loop: a terminal may take its time.
async fn write<W: Write + Send + 'static>(mut out: W, data: Vec<u8>) -> Result<W, FollowError> {
    let written = tokio::task::spawn_blocking(move || {
        out.write_all(&data)
            .and_then(|()| out.flush())
            .map(|()| out)
    });
    match written.await {
        Ok(result) => result.map_err(FollowError::Write),
        Err(error) => Err(FollowError::Write(std::io::Error::other(error))),
    }
}

/// The answer of `/files/read`.
#[derive(Debug, Deserialize)]
struct Piece {
    /// Files are bytes: agents put them into the JSON text as they are, valid UTF-8 or not.
    #[serde(deserialize_with = "bytes")]
    data: Vec<u8>,
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct BytesVisitor;

    impl Visitor<'_> for BytesVisitor {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_str<E>(self, text: &str) -> Result<Vec<u8>, E> {
            Ok(text.as_bytes().to_vec())
        }
    }
    deserializer.deserialize_bytes(BytesVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_bytes() {
        fn check(body: &[u8], expected: &[u8]) {
            let piece: Piece = serde_json::from_slice(body).unwrap();
            assert_eq!(piece.data, expected);
        }
        check(
            br#"{"data":"a\nb\u00fc","offset":0}"#,
            "a\nb\u{fc}".as_bytes(),
        );
        check(b"{\"data\":\"\xff\xc3\",\"offset\":0}", b"\xff\xc3");
        check(br#"{"data":"\u0000","offset":7}"#, b"\0");
    }
}
