//! The resolvers that are asked on behalf of sandboxes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::asked::HEADER;

pub(crate) const PORT: u16 = 53;
/// Of one attempt at one resolver, which asks others itself.
const ATTEMPT: Duration = Duration::from_secs(3);
/// The largest message over UDP with EDNS that is in use.
pub(crate) const MESSAGE: usize = 4096;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// Resolvers, the best first. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams(Arc<[SocketAddr]>);

impl Upstreams {
    pub fn of(given: &[SocketAddr]) -> Self {
        Self(given.into())
    }

    /// These, or the host's own when there is none.
    pub fn new(given: &[SocketAddr]) -> Self {
        if !given.is_empty() {
            return Self::of(given);
        }
        let own = of_host(Path::new("/etc/resolv.conf"));
        if own.is_empty() {
            tracing::warn!("the host's /etc/resolv.conf names no resolver: sandboxes cannot resolve names");
        }
        Self(own.into())
    }

    /// The first answer to a query of [`HEADER`] bytes at least; none when nobody answers.
    pub async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for upstream in self.0.iter() {
            let asked = async {
                match transport {
                    Transport::Udp => by_udp(*upstream, query).await,
                    Transport::Tcp => by_tcp(*upstream, query).await,
                }
            };
            match timeout(ATTEMPT, asked).await {
                Ok(Ok(message)) => return Some(message),
                Ok(Err(error)) => tracing::debug!(%upstream, %error, "resolver failed"),
                Err(_) => tracing::debug!(%upstream, "resolver did not answer"),
            }
        }
        None
    }
}

/// One query from a port of its own, so that nobody else can guess where the answer is awaited.
pub(crate) async fn by_udp(upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any = if upstream.is_ipv4() { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u8; 16]) };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut reply = vec![0; MESSAGE];
    loop {
        let length = socket.recv(&mut reply).await?;
        if length >= HEADER && reply[..2] == query[..2] {
            reply.truncate(length);
            return Ok(reply);
        }
    }
}

async fn by_tcp(upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    send(&mut stream, query).await?;
    let reply = receive(&mut stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if reply.len() < HEADER || reply[..2] != query[..2] {
        return Err(io::Error::other("answer to another query"));
    }
    Ok(reply)
}

/// A message with its length before it (RFC 1035 §4.2.2); none at the end of the stream.
pub(crate) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// The `nameserver` lines of `resolv.conf(5)`.
fn of_host(path: &Path) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
        })
        .map(|address| SocketAddr::new(address, PORT))
        .collect()
}
