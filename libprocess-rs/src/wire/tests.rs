use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::Upid;
use crate::fuzzing::read_messages;

fn upid(text: &str) -> Upid {
    text.parse().unwrap()
}

fn encoded(from: &str, to: &str, name: &str, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    encode_message(&mut out, &upid(from), &upid(to), name, body);
    out
}

fn limits() -> Limits {
    Limits {
        head_bytes: 512,
        body_bytes: 100,
    }
}

/// The items as short texts: a message as `from to name body`, a rejection as its status, a request as method and target.
fn read(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(limits(), BytesMut::from(bytes));
    let mut read = Vec::new();
    loop {
        match reader.next() {
            Ok(Some((item, keep_alive))) => {
                let text = match text_of(item, reader.buffer()) {
                    Ok(text) => text,
                    Err(error) => format!("error {}", error.status().as_u16()),
                };
                read.push(if keep_alive {
                    text
                } else {
                    format!("{text} close")
                });
            }
            Ok(None) => {
                read.extend(reader.is_partial().then(|| "partial".to_owned()));
                return read;
            }
            Err(error) => {
                read.push(format!("error {}", error.status().as_u16()));
                return read;
            }
        }
    }
}

/// The item as text, with the body that is behind a request.
fn text_of(item: Item, buffer: &mut BytesMut) -> Result<String, ReadError> {
    let message = |m: Message, body: Bytes| {
        let body = String::from_utf8_lossy(&body);
        format!("{} {} {} {body}", m.from, m.to, m.name)
    };
    Ok(match item {
        Item::Message(mut m) => {
            let body = std::mem::take(&mut m.body);
            message(m, body)
        }
        Item::Compressed(m) => {
            let body = gunzip(&m.body, limits().body_bytes)?;
            message(m, body)
        }
        Item::Rejected(rejection) => rejection.status.as_u16().to_string(),
        Item::Request(request) => {
            let decoder = Decoder::new(request.framing, limits().body_bytes)?;
            let body = BodyReader::from(decoder.skipping_trailers()).feed(buffer)?;
            let body = body.map_or_else(
                || "partial".into(),
                |body| String::from_utf8_lossy(&body).into_owned(),
            );
            format!("{} {} {body}", request.method, request.target)
                .trim_end()
                .to_owned()
        }
    })
}

fn check(bytes: impl AsRef<[u8]>, expected: &[&str]) {
    let bytes = bytes.as_ref();
    assert_eq!(read(bytes), expected, "{}", String::from_utf8_lossy(bytes));
}

#[test]
fn messages_are_written_as_upstream_does() {
    let bytes = encoded(
        "slave(1)@10.0.0.7:5051",
        "master@10.0.0.1:5050",
        "a.B",
        b"hello, world",
    );
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        "POST /master/a.B HTTP/1.1\r\nUser-Agent: libprocess/slave(1)@10.0.0.7:5051\r\n\
         Libprocess-From: slave(1)@10.0.0.7:5051\r\nConnection: Keep-Alive\r\nHost: \r\n\
         Transfer-Encoding: chunked\r\n\r\nc\r\nhello, world\r\n0\r\n\r\n"
    );
    let bytes = encoded("@0.0.0.0:0", "@1.2.3.4:5", "x", b"");
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        "POST /x HTTP/1.1\r\nUser-Agent: libprocess/@0.0.0.0:0\r\nLibprocess-From: @0.0.0.0:0\r\n\
         Connection: Keep-Alive\r\nHost: \r\n\r\n"
    );
}

#[test]
fn what_is_written_is_read() {
    let mut bytes = encoded("a@1.2.3.4:5", "b@1.2.3.4:6", "x.Y", b"one");
    bytes.extend(encoded("a@1.2.3.4:5", "slave(1)@1.2.3.4:6", "x.Y", b""));
    bytes.extend(encoded("c@1.2.3.4:5", "b@1.2.3.4:6", "y", b"three"));
    let expected = [
        "a@1.2.3.4:5 b x.Y one",
        "a@1.2.3.4:5 slave(1) x.Y ",
        "c@1.2.3.4:5 b y three",
    ];
    check(&bytes, &expected);
}

#[test]
fn recognizes_messages() {
    let from = |headers: &str, method: &str| format!("{method} /b/n HTTP/1.1\r\n{headers}\r\n");
    check(
        from("Libprocess-From: a@1.2.3.4:5\r\n", "POST"),
        &["a@1.2.3.4:5 b n "],
    );
    check(
        from("libprocess-from:  a@1.2.3.4:5 \r\n", "POST"),
        &["a@1.2.3.4:5 b n "],
    );
    check(
        from("User-Agent: libprocess/a@1.2.3.4:5\r\n", "POST"),
        &["a@1.2.3.4:5 b n "],
    );
    let both = "User-Agent: libprocess/a@1.2.3.4:5\r\nLibprocess-From: c@1.2.3.4:5\r\n";
    check(from(both, "POST"), &["c@1.2.3.4:5 b n "]);
    check(
        from("Libprocess-From: nonsense\r\n", "POST"),
        &["@0.0.0.0:0 b n "],
    );
    check(
        from("Libprocess-From: a@localhost:5\r\n", "POST"),
        &["@0.0.0.0:0 b n "],
    );
    check(
        from("Libprocess-From: a@1.2.3.4:5\r\n", "GET"),
        &["GET /b/n"],
    );
    check(from("User-Agent: curl/8\r\n", "POST"), &["POST /b/n"]);
}

#[test]
fn receivers_and_names() {
    let to =
        |target: &str| format!("POST {target} HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\n\r\n");
    check(to("/slave%281%29/n"), &["a@1.2.3.4:5 slave(1) n "]);
    check(to("/a+b/n"), &["a@1.2.3.4:5 a b n "]);
    check(to("/b/n%20/x/y?q=1"), &["a@1.2.3.4:5 b n%20/x/y "]);
    check(to("/b"), &["a@1.2.3.4:5 b  "]);
    check(to("/"), &["a@1.2.3.4:5   "]);
    check(to("b/n"), &["400"]);
    check(to("/b%zz/n"), &["500"]);
}

#[test]
fn bodies() {
    let with = |rest: &str| format!("POST /b/n HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\n{rest}");
    let ok = ["a@1.2.3.4:5 b n hello"];
    check(with("Content-Length: 5\r\n\r\nhello"), &ok);
    check(
        with("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        &ok,
    );
    check(
        with("Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n003;x=y\r\nllo\r\n0\r\n\r\n"),
        &ok,
    );
    check(with("Content-Length: 5\r\n\r\nhello\r\n"), &ok);
    check(with("Content-Length: 5\r\n\r\nhel"), &["partial"]);
    check(
        with("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
        &["partial"],
    );
    check(
        with("Content-Length: 0\r\nConnection: close\r\n\r\n"),
        &["a@1.2.3.4:5 b n  close"],
    );

    let malformed = ["error 400"];
    check(with("Content-Length: x\r\n\r\n"), &malformed);
    check(with("Content-Length: -1\r\n\r\n"), &malformed);
    check(with("Content-Length: +5\r\n\r\nhello"), &malformed);
    check(
        with("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        &malformed,
    );
    check(with("Transfer-Encoding: gzip\r\n\r\n"), &malformed);
    check(
        with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
        &malformed,
    );
    check(with("Transfer-Encoding: chunked\r\n\r\nx\r\n"), &malformed);
    check(
        with("Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n"),
        &malformed,
    );
    check(
        with("Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n"),
        &malformed,
    );
    check(
        with("Content-Length: 5\r\nContent-Encoding: gzip\r\n\r\nhello"),
        &malformed,
    );

    let too_large = ["error 413"];
    check(with("Content-Length: 101\r\n\r\n"), &too_large);
    check(
        with("Content-Length: 99999999999999999999\r\n\r\n"),
        &malformed,
    );
    check(with("Transfer-Encoding: chunked\r\n\r\n65\r\n"), &too_large);
    check(
        with("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        &too_large,
    );
}

#[test]
fn gzip_bodies_are_inflated_within_the_limit() {
    let post = |plain: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        let body = encoder.finish().unwrap();
        let mut bytes = format!(
            "POST /b/n HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\nContent-Encoding: gzip\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend(body);
        bytes
    };
    check(post(b"hello"), &["a@1.2.3.4:5 b n hello"]);
    check(post(&[0; 100_000]), &["error 413"]);
}

#[test]
fn heads() {
    check("", &[]);
    check("POST /b/n HT", &["partial"]);
    check("\r\n\r\nGET / HTTP/1.0\r\n\r\n", &["GET / close"]);
    check(
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        &["GET /"],
    );
    check("GET / HTTP/1.1\nHost: x\n\n", &["GET /"]);
    check(
        "GET / HTTP/1.1\r\nConnection: Close\r\n\r\n",
        &["GET / close"],
    );
    check("nonsense\r\n\r\n", &["error 400"]);
    check("GET / HTTP/2.0\r\n\r\n", &["error 400"]);
    check("GET / HTTP/1.1\r\nbad header\r\n\r\n", &["error 400"]);
    check(
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(512)),
        &["error 431"],
    );
    check("x".repeat(511), &["partial"]);
    check("x".repeat(512), &["error 431"]);
    let many = "a: b\r\n".repeat(129);
    let bytes = format!("GET / HTTP/1.1\r\n{many}\r\n");
    let mut reader = Reader::new(
        Limits {
            head_bytes: 10_000,
            body_bytes: 0,
        },
        BytesMut::from(bytes.as_str()),
    );
    assert_eq!(reader.next().unwrap_err(), ReadError::HeadTooLarge);
}

/// Pieces of requests, so that random sequences of them get past the first checks.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let text = |text: &'static str| Just(text.as_bytes().to_vec());
    prop_oneof![
        4 => text("POST /b/n HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\n"),
        2 => text("GET /x HTTP/1.1\r\n"),
        3 => text("Transfer-Encoding: chunked\r\n\r\n"),
        3 => text("Content-Length: 5\r\n\r\n"),
        2 => text("Content-Encoding: gzip\r\n"),
        2 => text("5\r\nhello\r\n"),
        3 => text("0\r\n\r\n"),
        3 => text("hello"),
        3 => text("\r\n"),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => prop::collection::vec(any::<u8>(), 0..600),
    ]
}

proptest! {
    #[test]
    fn portions_do_not_matter(
        fragments in prop::collection::vec(fragment(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = fragments.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let portions = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let whole = read_messages([&bytes[..]], 512, 100);
        prop_assert_eq!(&read_messages(portions, 512, 100), &whole);
        prop_assert_eq!(&read_messages(bytes.chunks(1), 512, 100), &whole);
    }
}
