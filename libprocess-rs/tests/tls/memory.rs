//! TLS over a transport without sockets.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use libprocess::{BoxFuture, ByteStream, Incoming, Listener, RuntimeConfig, TlsConfig, Transport};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::certificates::Authority;
use crate::common::{block_on, start};
use crate::support::*;

/// So little that nothing fits in at once.
const PIPE_BYTES: usize = 16;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<HashMap<SocketAddr, UnboundedSender<DuplexStream>>>>);

struct Port {
    address: SocketAddr,
    accepted: UnboundedReceiver<DuplexStream>,
}

struct Accepted(DuplexStream);

impl Transport for Memory {
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let (sender, accepted) = unbounded_channel();
        self.0.lock().insert(address, sender);
        Ok(Box::new(Port { address, accepted }))
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<io::Result<Box<dyn ByteStream>>> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let sent = self.0.lock().get(&to).map(|port| port.send(far));
        Box::pin(async move {
            match sent {
                Some(Ok(())) => Ok(Box::new(near) as Box<dyn ByteStream>),
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

impl Listener for Port {
    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Incoming>>> {
        self.accepted.poll_recv(cx).map(|stream| {
            let stream = stream.ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(Box::new(Accepted(stream)) as Box<dyn Incoming>)
        })
    }
}

impl Incoming for Accepted {
    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn open(self: Box<Self>) -> io::Result<Box<dyn ByteStream>> {
        Ok(Box::new(self.0))
    }
}

#[test]
fn any_transport_can_have_tls() {
    let ca = Authority::new("ca");
    let memory = Arc::new(Memory::default());
    let on = |port: u16, support_downgrade: bool| {
        start(RuntimeConfig {
            port,
            transport: memory.clone(),
            ..with_tls(TlsConfig {
                verify_server_cert: true,
                support_downgrade,
                ca_file: Some(ca.file()),
                verify_ipadd: true,
                ..ca.sign("x", &["127.0.0.1"]).config()
            })
        })
    };
    let (near, far, either) = (on(1, false), on(2, false), on(3, true));
    assert!(arrives(&near, &far));
    assert!(arrives(&near, &either));
    assert!(arrives(&either, &far));
}

#[test]
fn no_answer_is_held_back() {
    let ca = Authority::new("ca");
    let memory = Arc::new(Memory::default());
    let runtime = web(RuntimeConfig {
        port: 1,
        transport: memory.clone(),
        ..with_tls(ca.sign("x", &["127.0.0.1"]).config())
    });
    let connector = tokio_rustls::TlsConnector::from(client_config(&ca));
    block_on(async {
        let stream = memory.connect(runtime.address()).await.unwrap();
        let stream = connector.connect(server_name(), stream).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut ask = async |request: &str, end: &str| {
            let writing = async {
                writer.write_all(request.as_bytes()).await.unwrap();
                writer.flush().await.unwrap();
            };
            let reading = async {
                let mut answer = String::new();
                while !answer.ends_with(end) {
                    answer.push(char::from(reader.read_u8().await.unwrap()));
                }
            };
            tokio::join!(writing, reading);
        };
        let message = "POST /web/note HTTP/1.1\r\nLibprocess-From: a@127.0.0.1:1\r\n\r\n";
        ask(message, "Content-Length: 0\r\n\r\n").await;
        ask("GET /web/hello HTTP/1.1\r\nHost: x\r\n\r\n", "hello").await;
    });
}
