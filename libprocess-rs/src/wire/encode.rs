//! Requests that carry messages, byte for byte as upstream writes them.

use std::io::Write;

use bytes::{BufMut, BytesMut};

use crate::Upid;

/// Appends the request for one message.
///
/// Upstream: `MessageEncoder` in `3rdparty/libprocess/src/encoder.hpp`.
pub(crate) fn encode_message(out: &mut BytesMut, from: &Upid, to: &Upid, name: &str, body: &[u8]) {
    encode_head(out, from, to, name, body.len());
    out.extend_from_slice(body);
    encode_end(out, body.len());
}

/// Like [`encode_message`], but encodes the protobuf straight into `out`.
pub(crate) fn encode_proto<M: prost::Message>(
    out: &mut BytesMut,
    from: &Upid,
    to: &Upid,
    name: &str,
    message: &M,
) {
    let len = message.encoded_len();
    encode_head(out, from, to, name, len);
    out.reserve(len);
    message.encode_raw(out);
    encode_end(out, len);
}

fn encode_head(out: &mut BytesMut, from: &Upid, to: &Upid, name: &str, body_len: usize) {
    out.reserve(200 + to.id().len() + name.len() + 2 * from.id().len());
    out.put_slice(b"POST /");
    if !to.id().is_empty() {
        out.put_slice(to.id().as_bytes());
        out.put_u8(b'/');
    }
    out.put_slice(name.as_bytes());
    out.put_slice(b" HTTP/1.1\r\nUser-Agent: libprocess/");
    let mark = out.len();
    // Writing to memory cannot fail.
    let _ = write!(out.writer(), "{from}");
    let sender = mark..out.len();
    out.put_slice(b"\r\nLibprocess-From: ");
    out.extend_from_within(sender);
    out.put_slice(b"\r\nConnection: Keep-Alive\r\nHost: \r\n");
    if body_len > 0 {
        let _ = write!(
            out.writer(),
            "Transfer-Encoding: chunked\r\n\r\n{body_len:x}\r\n"
        );
    } else {
        out.put_slice(b"\r\n");
    }
}

fn encode_end(out: &mut BytesMut, body_len: usize) {
    if body_len > 0 {
        out.put_slice(b"\r\n0\r\n\r\n");
    }
}
