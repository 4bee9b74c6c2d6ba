//! Looks at connections to what names opened, before they go on: an address that is open for one name must not open another
//! that lies there, too.
//!
//! ```text
//! sandbox ── TCP to an opened address ──▶ inspector ── first bytes ──┬─ TLS: the name in ClientHello ─┬▶ same address
//!            (sent here by the kernel)                               ├─ HTTP/1: the host of each request ┤
//!                                                                    └─ SSH: names nothing ─────────────┘
//! ```
//! Everything else is refused: a protocol that does not say whom it is for can't be judged by name. TLS is not opened: what
//! is asked of the server inside it is between the two of them.

mod hello;
mod http;
mod relay;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use sebring_types::denial::{Protocol, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub use hello::{Said, server_name};
pub use http::host;

use crate::NetworkError;
use crate::network::Parts;
use crate::source::Connection;
use relay::{Replay, join};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may take to accept.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of one read.
const CHUNK: usize = 4096;

/// Where the kernel sends connections to.
#[derive(Debug)]
pub(crate) struct Inspector {
    listener: TcpListener,
    address: SocketAddrV4,
    parts: Arc<Parts>,
}

impl Inspector {
    /// Binds a free port of the gateway's address.
    pub async fn bind(gateway: Ipv4Addr, parts: Arc<Parts>) -> Result<Self, NetworkError> {
        let listener = TcpListener::bind((gateway, 0)).await.map_err(NetworkError::io("port of the inspector"))?;
        let port = listener.local_addr().map_err(NetworkError::io("address of the inspector"))?.port();
        Ok(Self { listener, address: SocketAddrV4::new(gateway, port), parts })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves until dropped.
    pub async fn run(self) {
        loop {
            match self.listener.accept().await {
                Ok((client, from)) => {
                    if let IpAddr::V4(from) = from.ip()
                        && let Ok(to) = rustix::net::sockopt::ip_original_dst(&client)
                        && to != self.address
                    {
                        self.admit(client, from, to);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    // Out of descriptors: those of ended connections come back.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn admit(&self, client: TcpStream, from: Ipv4Addr, to: SocketAddrV4) {
        let Some(source) = self.parts.sources.get(from) else { return };
        if let Some(reason) = self.parts.unreachable.reason(*to.ip()) {
            return source.deny(Protocol::Tcp, None, Some((*to.ip(), Some(to.port()))), reason);
        }
        let Some((connection, cut)) = source.connect(*to.ip()) else {
            return source.deny(Protocol::Tcp, None, Some((*to.ip(), Some(to.port()))), Reason::TooManyConnections);
        };
        let visit = Visit { connection, to };
        tokio::spawn(async move {
            tokio::select! {
                ended = visit.serve(client) => if let Err(error) = ended {
                    tracing::debug!(%from, %to, %error, "a connection ended");
                },
                _ = cut => tracing::debug!(%from, %to, "a connection was cut"),
            }
        });
    }
}

/// One connection, and where it wanted to go.
struct Visit {
    connection: Connection,
    to: SocketAddrV4,
}

/// What the first bytes of a connection are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tls,
    Http,
    Ssh,
}

impl Kind {
    /// None as long as it can't be told.
    fn of(bytes: &[u8]) -> Option<Result<Self, Reason>> {
        const SSH: &[u8] = b"SSH-";
        let first = *bytes.first()?;
        if first == hello::HANDSHAKE {
            return Some(Ok(Self::Tls));
        }
        if SSH.starts_with(&bytes[..bytes.len().min(SSH.len())]) {
            return (bytes.len() >= SSH.len()).then_some(Ok(Self::Ssh));
        }
        Some(if first.is_ascii_uppercase() { Ok(Self::Http) } else { Err(Reason::UnknownProtocol) })
    }
}

impl Visit {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut bytes = Vec::new();
        let told = async {
            loop {
                if let Some(kind) = Kind::of(&bytes) {
                    return Ok(Some(kind));
                }
                if read(&mut client, &mut bytes).await? == 0 {
                    return Ok::<_, io::Error>(None);
                }
            }
        };
        match timeout(PATIENCE, told).await?? {
            None => Ok(()),
            Some(Ok(Kind::Tls)) => self.tls(client, bytes).await,
            Some(Ok(Kind::Http)) => http::serve(self, Replay::new(bytes, client)).await,
            Some(Ok(Kind::Ssh)) => {
                let names = self.connection.source.names_of(*self.to.ip());
                match names.iter().find(|name| self.connection.is_for(name)) {
                    Some(_) => self.pass(client, &bytes).await,
                    None => self.refuse(client, Protocol::Ssh, None, Reason::AddressNotAllowed),
                }
            }
            Some(Err(reason)) => self.refuse(client, Protocol::Tcp, None, reason),
        }
    }

    async fn tls(&self, mut client: TcpStream, mut bytes: Vec<u8>) -> io::Result<()> {
        let said = async {
            loop {
                match server_name(&bytes) {
                    Said::More => {}
                    other => return Ok(other),
                }
                if read(&mut client, &mut bytes).await? == 0 {
                    return Ok(Said::Nothing);
                }
            }
        };
        let said: io::Result<Said> = timeout(PATIENCE, said).await?;
        let (name, reason) = match said? {
            Said::Name(name) if self.connection.is_for(&name) => return self.pass(client, &bytes).await,
            Said::Name(name) => (Some(name), Reason::NameNotAllowed),
            Said::Nothing | Said::More => (None, Reason::NoName),
        };
        self.deny(Protocol::Tls, name.as_deref(), reason);
        client.write_all(&hello::UNRECOGNIZED_NAME).await?;
        client.shutdown().await
    }

    /// Joins both sides; `bytes` were read already.
    async fn pass(&self, client: TcpStream, bytes: &[u8]) -> io::Result<()> {
        let mut server = match self.connect().await {
            Ok(server) => server,
            Err(error) => {
                // As if the server had not been reached, as near as it gets.
                client.set_zero_linger()?;
                return Err(error);
            }
        };
        server.write_all(bytes).await?;
        join(client, server).await
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let server = timeout(CONNECT, TcpStream::connect(self.to)).await??;
        server.set_nodelay(true)?;
        Ok(server)
    }

    fn refuse(&self, client: TcpStream, protocol: Protocol, name: Option<&str>, reason: Reason) -> io::Result<()> {
        self.deny(protocol, name, reason);
        client.set_zero_linger()
    }

    fn deny(&self, protocol: Protocol, name: Option<&str>, reason: Reason) {
        self.connection.source.deny(protocol, name, Some((*self.to.ip(), Some(self.to.port()))), reason);
    }
}

async fn read(client: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    bytes.reserve(CHUNK);
    client.read_buf(bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_protocols_apart() {
        assert_eq!(Kind::of(b""), None);
        assert_eq!(Kind::of(b"\x16\x03\x01"), Some(Ok(Kind::Tls)));
        for begun in ["S", "SS", "SSH"] {
            assert_eq!(Kind::of(begun.as_bytes()), None, "{begun}");
        }
        assert_eq!(Kind::of(b"SSH-2.0-x"), Some(Ok(Kind::Ssh)));
        for request in ["GET / HTTP/1.1", "SEARCH /", "SSX", "P"] {
            assert_eq!(Kind::of(request.as_bytes()), Some(Ok(Kind::Http)), "{request}");
        }
        // PostgreSQL and old SSL among them.
        let others: [&[u8]; 5] = [b"\r\nGET /", b"get /", b"\0\0\0\x08\x04\xd2\x16\x2f", b"\x80\x2e\x01", b" GET"];
        for other in others {
            assert_eq!(Kind::of(other), Some(Err(Reason::UnknownProtocol)), "{other:?}");
        }
    }
}
