//! The least of an HTTP client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::Context as _;

/// A connection that stays open between requests.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    line: String,
}

/// What the server said.
pub(crate) struct Answer {
    /// The status line.
    pub status: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// True for status 200.
    pub(crate) fn is_ok(&self) -> bool {
        self.status.starts_with("HTTP/1.1 200 ")
    }
}

/// One GET on a connection of its own.
pub(crate) fn get(address: impl Into<SocketAddr>, target: &str) -> anyhow::Result<Answer> {
    Client::connect(address)?.get(target)
}

impl Client {
    /// Opens a connection.
    pub(crate) fn connect(address: impl Into<SocketAddr>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address.into())?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            line: String::new(),
        })
    }

    /// One GET and its answer.
    pub(crate) fn get(&mut self, target: &str) -> anyhow::Result<Answer> {
        self.ask(target)?;
        self.answer()
    }

    /// Sends one GET.
    pub(crate) fn ask(&mut self, target: &str) -> anyhow::Result<()> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Ok(self.stream.get_mut().write_all(request.as_bytes())?)
    }

    /// Reads one answer, which needs a `Content-Length`.
    pub(crate) fn answer(&mut self) -> anyhow::Result<Answer> {
        let status = self.line()?.to_owned();
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.context("an answer without a length")?];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> anyhow::Result<&str> {
        self.line.clear();
        let read = self.stream.read_line(&mut self.line)?;
        anyhow::ensure!(read > 0, "the server closed the connection");
        Ok(self.line.trim_end())
    }
}
