//! The bytes of connections: how messages are written, how requests and responses are read. No sockets here.

mod body;
mod encode;
mod head;
mod reader;
mod response;

pub(crate) use body::{BodyReader, Decoder, Piece, append, gunzip, take};
pub(crate) use encode::{encode_message, encode_proto};
pub(crate) use head::Framing;
pub(crate) use reader::{Item, Limits, Message, ReadError, Reader, Rejection, RequestHead};
pub(crate) use response::{ResponseHead, ResponseParser};

#[cfg(test)]
mod tests;
