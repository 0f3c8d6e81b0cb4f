//! The bytes of messages: how they are written, and the reader of a message connection. No sockets here.

mod body;
mod encode;
mod head;
mod reader;

pub(crate) use body::gunzip;
pub(crate) use encode::{encode_message, encode_proto};
pub(crate) use head::{Classified, Framing, classify, find_end, framing_of};
pub(crate) use reader::{
    Item, Limits, Message, PlainRequest, ReadError, Reader, Rejection, parse_sender, parse_target,
};

#[cfg(test)]
mod tests;
