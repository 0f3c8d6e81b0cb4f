//! Routes, requests and responses, independent of the connection they come by.

mod gzip;
mod help;
mod query;
mod request;
mod response;
mod route;
mod serve;
mod stream;

pub use help::Help;
pub use query::{Query, QueryError};
pub use request::{BodyError, BodyStream, Principal, Request, parse_path};
pub use response::{Reply, Response};
pub use route::RouteOptions;
pub use stream::{StreamWriter, WriteError};

pub(crate) use gzip::compress_for;
pub(crate) use query::percent_decode;
pub(crate) use request::BodySender;
pub(crate) use response::{Body, ReplyKind, reason};
pub(crate) use route::{RouteTable, content_type};
pub(crate) use serve::{Target, answer, target};
pub(crate) use stream::StreamReader;
