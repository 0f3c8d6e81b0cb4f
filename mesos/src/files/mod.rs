//! The files endpoints: browsing, reading and downloading sandboxes and logs.
//!
//! Upstream: `src/files/files.cpp`.

mod attachments;

use std::path::PathBuf;
use std::sync::Arc;

use ::http::StatusCode;
use libprocess::{
    Context, Gone, Pid, Process, Reply, Request, Response, RouteOptions, Runtime, SpawnError,
};
use serde_json::{Value, json};
use thiserror::Error;

use attachments::{Attachments, mode_text};
pub use attachments::{FilesError, MAX_READ_BYTES, Section};

use crate::proto;

/// The id of the actor.
pub const FILES: &str = "files";

/// The actor that serves `/files/browse`, `/files/read`, `/files/download` and `/files/debug`.
///
/// Names are attached to it through a [`FilesHandle`]. File systems are only touched off the actor.
#[derive(Debug, Default)]
pub struct Files {
    attachments: Arc<Attachments>,
}

/// A way to the [`Files`] of a runtime.
#[derive(Clone)]
pub struct FilesHandle {
    pid: Pid<Files>,
    runtime: Runtime,
}

/// Why a question to [`Files`] has no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The file cannot be shown.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The actor has ended.
    #[error("the files actor has ended")]
    Gone,
}

impl From<Gone> for AskError {
    fn from(_: Gone) -> Self {
        AskError::Gone
    }
}

impl FilesHandle {
    /// Starts the actor in a runtime that has none.
    pub fn spawn(runtime: &Runtime) -> Result<FilesHandle, SpawnError> {
        let pid = runtime.spawn(FILES, Files::default())?;
        Ok(FilesHandle {
            pid,
            runtime: runtime.clone(),
        })
    }

    /// Shows a file or folder under a name; replaces what had that name. It need not exist yet.
    pub fn attach(&self, name: impl Into<String>, path: impl Into<PathBuf>) {
        let (name, path) = (name.into(), path.into());
        self.pid.dispatch(move |files, _| {
            Arc::make_mut(&mut files.attachments).attach(&name, path);
        });
    }

    /// Takes a name away.
    pub fn detach(&self, name: impl Into<String>) {
        let name = name.into();
        self.pid.dispatch(move |files, _| {
            Arc::make_mut(&mut files.attachments).detach(&name);
        });
    }

    /// What is in a folder, sorted by path.
    ///
    /// # Errors
    /// The name is not attached, or leads out of what is.
    pub async fn browse(&self, name: String) -> Result<Vec<proto::FileInfo>, AskError> {
        self.work(move |attachments| attachments.browse(&name))
            .await
    }

    /// Part of a file, at most [`MAX_READ_BYTES`].
    ///
    /// # Errors
    /// The name is not attached, leads out of what is, or to a folder; or the file cannot be read.
    pub async fn read(
        &self,
        name: String,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Section, AskError> {
        self.work(move |attachments| attachments.read(&name, offset, length))
            .await
    }

    async fn work<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Attachments) -> Result<R, FilesError> + Send + 'static,
    ) -> Result<R, AskError> {
        let attachments = self.pid.ask(|files, _| files.attachments.clone()).await?;
        let job = self
            .runtime
            .handle()
            .spawn_blocking(move || work(&attachments));
        match job.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(AskError::Gone),
        }
    }
}

impl Process for Files {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/browse", RouteOptions::default(), |files, ctx, request| {
            let Some(name) = path_of(&request) else {
                return no_path();
            };
            files.later(ctx, move |attachments| match attachments.browse(&name) {
                Ok(found) => Response::json_or_jsonp(
                    found.iter().map(file_json).collect::<Vec<_>>(),
                    &request,
                ),
                Err(error) => refuse(&error),
            })
        });
        ctx.route("/read", RouteOptions::default(), |files, ctx, request| {
            let Some(name) = path_of(&request) else {
                return no_path();
            };
            let (offset, length) = match (number(&request, "offset"), number(&request, "length")) {
                (Ok(offset), Ok(length)) => (offset, length),
                (Err(problem), _) | (_, Err(problem)) => return bad_request(problem),
            };
            files.later(ctx, move |attachments| {
                read(attachments, &name, offset, length, &request)
            })
        });
        ctx.route(
            "/download",
            RouteOptions::default(),
            |files, ctx, request| {
                let Some(name) = path_of(&request) else {
                    return no_path();
                };
                files.later(ctx, move |attachments| match attachments.resolve(&name) {
                    Ok(path) if path.is_dir() => refuse(&FilesError::Directory("download")),
                    Ok(path) => download(path),
                    Err(error) => refuse(&error),
                })
            },
        );
        ctx.route("/debug", RouteOptions::default(), |files, _, request| {
            Response::json_or_jsonp(files.attachments.paths(), &request).into()
        });
    }
}

impl Files {
    /// Answers from a thread where it may block.
    fn later(
        &self,
        ctx: &Context<Self>,
        work: impl FnOnce(&Attachments) -> Response + Send + 'static,
    ) -> Reply {
        let attachments = self.attachments.clone();
        let job = ctx
            .runtime()
            .handle()
            .spawn_blocking(move || work(&attachments));
        Reply::later(async move {
            job.await
                .unwrap_or_else(|_| Response::status(StatusCode::INTERNAL_SERVER_ERROR))
        })
    }
}

fn path_of(request: &Request) -> Option<String> {
    let path = request.query.get("path")?;
    (!path.is_empty()).then(|| path.to_owned())
}

fn no_path() -> Reply {
    bad_request("Expecting 'path=value' in query.\n".to_owned())
}

fn bad_request(text: String) -> Reply {
    Response::text(StatusCode::BAD_REQUEST, text).into()
}

/// A number that is not negative; -1 stands for none.
fn number(request: &Request, name: &str) -> Result<Option<u64>, String> {
    match request.query.get(name) {
        None | Some("-1") => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(value) => u64::try_from(value)
                .map(Some)
                .map_err(|_| format!("Negative {name} provided: {value}.\n")),
            Err(error) => Err(format!("Failed to parse {name}: '{text}': {error}.\n")),
        },
    }
}

fn refuse(error: &FilesError) -> Response {
    match error {
        FilesError::NotFound(_) => Response::text(StatusCode::NOT_FOUND, ""),
        FilesError::Inaccessible(_) | FilesError::Directory(_) => {
            Response::text(StatusCode::BAD_REQUEST, format!("{error}.\n"))
        }
        FilesError::Io { .. } => {
            Response::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}.\n"))
        }
    }
}

/// Without an offset only the size of the file is told.
fn read(
    attachments: &Attachments,
    name: &str,
    offset: Option<u64>,
    length: Option<u64>,
    request: &Request,
) -> Response {
    let wanted = match offset {
        Some(_) => length,
        None => Some(0),
    };
    match attachments.read(name, offset.unwrap_or(0), wanted) {
        Ok(section) => {
            let mut body = b"{\"data\":\"".to_vec();
            escape(&section.data, &mut body);
            body.extend_from_slice(
                format!("\",\"offset\":{}}}", offset.unwrap_or(section.size)).as_bytes(),
            );
            respond(body, request)
        }
        Err(error) => refuse(&error),
    }
}

fn respond(body: Vec<u8>, request: &Request) -> Response {
    match request.query.get("jsonp") {
        None => Response::json_text(body),
        Some(_) => {
            let text = String::from_utf8_lossy(&body).into_owned();
            Response::json_text_or_jsonp(text, request)
        }
    }
}

/// Writes bytes as the content of a JSON string. What is not UTF-8 goes through as it is, like upstream: a file is read
/// in sections whose borders may lie within a character.
fn escape(data: &[u8], out: &mut Vec<u8>) {
    for byte in data {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
            _ => out.push(*byte),
        }
    }
}

fn download(path: PathBuf) -> Response {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Response::file(path).header(
        "Content-Disposition",
        format!("attachment; filename={name}"),
    )
}

/// One file in the answer of `/files/browse`.
fn file_json(file: &proto::FileInfo) -> Value {
    let seconds = file.mtime.map_or(0, |time| time.nanoseconds) as f64 / 1e9;
    json!({
        "gid": file.gid(),
        "mode": mode_text(file.mode()),
        "mtime": seconds,
        "nlink": file.nlink(),
        "path": file.path,
        "size": file.size(),
        "uid": file.uid(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_any_bytes() {
        let check = |data: &[u8], expected: &[u8]| {
            let mut out = Vec::new();
            escape(data, &mut out);
            assert_eq!(out, expected);
        };
        check(b"plain", b"plain");
        check(b"\"\\\n\t\r\x08\x0c", b"\\\"\\\\\\n\\t\\r\\b\\f");
        check(b"\x01\x1f\x7f", b"\\u0001\\u001F\x7f");
        check(b"\xc3\xa9\xff", b"\xc3\xa9\xff");
    }
}
