//! The bytes of messages: how they are written, and the reader of a message connection; and those of responses. No sockets here.

mod body;
mod encode;
mod head;
mod reader;
mod response;

pub(crate) use body::{Decoder, Piece, append, gunzip, take};
pub(crate) use encode::{encode_message, encode_proto};
pub(crate) use head::{Classified, Framing, bodiless_head, classify, find_end, framing_of};
pub(crate) use reader::{
    Item, Limits, Message, PlainRequest, ReadError, Reader, Rejection, parse_sender, parse_target,
};
pub(crate) use response::{ResponseHead, ResponseParser};

#[cfg(test)]
mod tests;
