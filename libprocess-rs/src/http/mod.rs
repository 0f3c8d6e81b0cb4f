//! Routes, requests and responses, independent of the connection they come by.

mod accept;
mod auth;
mod conditional;
mod content_type;
mod gzip;
mod headers;
mod help;
mod inflate;
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
pub use headers::Headers;
pub use help::Help;
pub use params::{ParamError, ParamPlace};
pub use query::{Query, QueryError};
pub use request::{BodyError, BodyStream, Request, parse_path};
pub use response::{Reply, Response};
pub use route::RouteOptions;
pub use stream::{StreamWriter, WriteError};

pub(crate) use auth::Gatekeeper;
pub(crate) use conditional::{Outcome, validators};
pub(crate) use content_type::content_type;
pub(crate) use gzip::{GZIP_MINIMUM_BODY_BYTES, compressed};
pub(crate) use inflate::{INFLATE_ELSEWHERE_BYTES, Inflate, is_gzip};
pub(crate) use preferences::Preferences;
pub(crate) use query::percent_decode;
pub(crate) use range::{ByteRange, Ranges, parse_ranges};
pub(crate) use request::BodySender;
pub(crate) use response::{Body, ReplyKind, reason};
pub(crate) use route::{Found, Route, RouteTable};
pub(crate) use serve::{Answer, Target, answer, answer_or_error, ask, target, target_at_once};
pub(crate) use stream::{StreamReader, abandoning, channel as stream_channel};
