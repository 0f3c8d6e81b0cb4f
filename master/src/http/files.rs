//! LIST_FILES and READ_FILE of the operator API.

use http::StatusCode;
use libprocess::{Reply, Response};
use mesos::files::{AskError, FilesError};
use mesos::media::ContentType;
use mesos::proto::master::{Call, Response as Answer, call, response};

use super::operator::encode;
use crate::actor::MasterProcess;

/// Answers a call about files; none for other calls.
pub(super) fn respond(master: &MasterProcess, call: &Call, accept: ContentType) -> Option<Reply> {
    let files = master.files();
    match call.r#type() {
        call::Type::ListFiles => {
            let path = call.list_files.clone().unwrap_or_default().path;
            Some(Reply::later(async move {
                match files.browse(path).await {
                    Ok(file_infos) => encode(
                        &Answer {
                            r#type: Some(response::Type::ListFiles as i32),
                            list_files: Some(response::ListFiles { file_infos }),
                            ..Default::default()
                        },
                        accept,
                    ),
                    Err(error) => refuse(&error),
                }
            }))
        }
        call::Type::ReadFile => {
            let asked = call.read_file.clone().unwrap_or_default();
            Some(Reply::later(async move {
                match files.read(asked.path, asked.offset, asked.length).await {
                    Ok(section) => encode(
                        &Answer {
                            r#type: Some(response::Type::ReadFile as i32),
                            read_file: Some(response::ReadFile {
                                size: section.size,
                                data: section.data.into(),
                            }),
                            ..Default::default()
                        },
                        accept,
                    ),
                    Err(error) => refuse(&error),
                }
            }))
        }
        _ => None,
    }
}

fn refuse(error: &AskError) -> Response {
    let status = match error {
        AskError::Files(FilesError::NotFound(_)) => StatusCode::NOT_FOUND,
        AskError::Files(FilesError::Inaccessible(_) | FilesError::Directory(_)) => {
            StatusCode::BAD_REQUEST
        }
        AskError::Files(FilesError::Io { .. }) | AskError::Gone => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    Response::text(status, error.to_string())
}
