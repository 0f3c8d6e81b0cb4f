//! Routes, requests and responses, independent of the connection they come by.

mod accept;
mod auth;
mod conditional;
mod gzip;
mod help;
mod params;
mod preferences;
mod query;
mod range;
mod request;
mod response;
mod route;
mod serve;
mod stream;

pub use auth::{
    Authentication, Authenticator, BasicAuthenticator, CheckError, CheckFuture,
    CombinedAuthenticator, DisabledEndpoints, Endpoint, FirewallRule, JwtAuthenticator, Principal,
};
pub use help::Help;
pub use params::{ParamError, ParamPlace};
pub use query::{Query, QueryError};
pub use request::{BodyError, BodyStream, Request, parse_path};
pub use response::{Reply, Response};
pub use route::RouteOptions;
pub use stream::{StreamWriter, WriteError};

pub(crate) use auth::Gatekeeper;
pub(crate) use conditional::{Outcome, validators};
pub(crate) use preferences::Preferences;
pub(crate) use query::percent_decode;
pub(crate) use range::{ByteRange, Ranges, parse_ranges};
pub(crate) use request::{BodySender, split_target};
pub(crate) use response::{Body, ReplyKind, reason};
pub(crate) use route::{Found, RouteTable, content_type};
pub(crate) use serve::{Target, answer, target};
pub(crate) use stream::{StreamReader, channel as stream_channel};
