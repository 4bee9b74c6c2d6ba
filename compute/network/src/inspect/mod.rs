//! Looks at connections to what names opened, before they go on: an address that is open for one name must not open another
//! that lies there, too.
//!
//! ```text
//! sandbox ── TCP to an opened address ──▶ inspector ── first bytes ──┬─ TLS: the name in ClientHello ───┬▶ same address
//!            (sent here by the kernel)                               ├─ HTTP/1: the host of each request ┤
//!                                                                    └─ SSH, on ports for it ────────────┘
//! ```
//! Everything else is refused: a protocol that does not say whom it is for can't be judged by name. SSH does not either, so
//! both sides must speak it. TLS is not opened: what is asked of the server inside it is between the two of them. But the
//! server must speak it, and a ClientHello that it asks for once more is judged as the first.

mod hello;
mod http;
mod relay;
mod ssh;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use sebring_types::denial::{Protocol, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub use hello::{Answered, Said, answered, length, server_name};
pub use http::host;
pub use ssh::speaks;

use rustix::process::{Resource, getrlimit};

use crate::NetworkError;
use crate::network::Parts;
use crate::places::{Place, Places};
use crate::source::Connection;
use relay::{Replay, join};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may take to accept.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may take to answer a ClientHello.
const ANSWER: Duration = Duration::from_secs(60);
/// Connections of one sandbox at once.
const CONNECTIONS_EACH: usize = 1024;
/// Of the descriptors that this process may have, one in so many connections, each of which takes two.
const SHARE: u64 = 8;
/// Bytes of one read.
const CHUNK: usize = 4096;

/// Where the kernel sends connections to.
#[derive(Debug)]
pub(crate) struct Inspector {
    listener: TcpListener,
    address: SocketAddrV4,
    places: Places,
    parts: Arc<Parts>,
}

impl Inspector {
    /// Binds a free port of the gateway's address.
    pub async fn bind(gateway: Ipv4Addr, parts: Arc<Parts>) -> Result<Self, NetworkError> {
        let listener = TcpListener::bind((gateway, 0)).await.map_err(NetworkError::io("port of the inspector"))?;
        let port = listener.local_addr().map_err(NetworkError::io("address of the inspector"))?.port();
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let connections = usize::try_from(descriptors / SHARE).unwrap_or(usize::MAX).max(1);
        let places = Places::new(connections, CONNECTIONS_EACH.min(connections.div_ceil(4)));
        Ok(Self { listener, address: SocketAddrV4::new(gateway, port), places, parts })
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
        let Some(place) = self.places.take(from) else {
            return source.deny(Protocol::Tcp, None, Some((*to.ip(), Some(to.port()))), Reason::TooManyConnections);
        };
        let Some((connection, cut)) = source.connect(*to.ip()) else { return };
        let may_be_ssh = self.parts.ssh_ports.contains(&to.port());
        let visit = Visit { connection, to, may_be_ssh, _place: place };
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
    /// Whether SSH is spoken at that port.
    may_be_ssh: bool,
    _place: Place,
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
        let Ok(told) = timeout(PATIENCE, told).await else {
            // It waits for the server to speak first, as with SMTP, and would wait for ever.
            return self.refuse(client, Protocol::Tcp, None, Reason::UnknownProtocol);
        };
        match told? {
            None => Ok(()),
            Some(Ok(Kind::Tls)) => self.tls(client, bytes).await,
            Some(Ok(Kind::Http)) => http::serve(self, Replay::new(bytes, client)).await,
            Some(Ok(Kind::Ssh)) => self.ssh(client, bytes).await,
            Some(Err(reason)) => self.refuse(client, Protocol::Tcp, None, reason),
        }
    }

    /// Lets both sides hear each other once both have said that they speak SSH, the server without having heard anything.
    async fn ssh(&self, mut client: TcpStream, mut said: Vec<u8>) -> io::Result<()> {
        let names = self.connection.source.names_of(*self.to.ip());
        if !names.iter().any(|name| self.connection.is_for(name)) {
            return self.refuse(client, Protocol::Ssh, None, Reason::AddressNotAllowed);
        }
        if !self.may_be_ssh || !says_ssh(&mut client, &mut said, ssh::CLIENT).await? {
            return self.refuse(client, Protocol::Ssh, None, Reason::UnknownProtocol);
        }
        let mut server = self.reach(&client).await?;
        let mut answer = Vec::new();
        if !says_ssh(&mut server, &mut answer, ssh::SERVER).await? {
            return self.refuse(client, Protocol::Ssh, None, Reason::UnknownProtocol);
        }
        server.write_all(&said).await?;
        client.write_all(&answer).await?;
        join(client, server).await
    }

    async fn tls(&self, mut client: TcpStream, mut said: Vec<u8>) -> io::Result<()> {
        let Some(first) = self.judge(&mut client, &mut said).await? else { return Ok(()) };
        let mut server = self.reach(&client).await?;
        server.write_all(&said[..first]).await?;
        // What comes after the hello, such as early data, waits until it is known that it is no second one.
        said.drain(..first);
        let mut answer = Vec::new();
        let heard = async {
            loop {
                match answered(&answer) {
                    Answered::More => {}
                    other => return Ok::<_, io::Error>(other),
                }
                if read(&mut server, &mut answer).await? == 0 {
                    return Ok(Answered::Enough);
                }
            }
        };
        match timeout(ANSWER, heard).await?? {
            Answered::More | Answered::Enough => client.write_all(&answer).await?,
            Answered::Otherwise => return self.refuse(client, Protocol::Tls, None, Reason::UnknownProtocol),
            Answered::Again => {
                client.write_all(&answer).await?;
                let before = pass_until_hello(&mut client, &mut server, &mut said);
                timeout(PATIENCE, before).await??;
                if self.judge(&mut client, &mut said).await?.is_none() {
                    return Ok(());
                }
            }
        }
        server.write_all(&said).await?;
        join(client, server).await
    }

    /// Reads a whole ClientHello, and says how many bytes it has; none when it was refused.
    async fn judge(&self, client: &mut TcpStream, said: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let heard = async {
            loop {
                match server_name(said) {
                    Said::More => {}
                    other => return Ok::<_, io::Error>(other),
                }
                if read(client, said).await? == 0 {
                    return Ok(Said::Nothing);
                }
            }
        };
        let heard = timeout(PATIENCE, heard).await??;
        let (name, reason) = match (heard, length(said)) {
            (Said::Name(name), Some(whole)) if self.connection.is_for(&name) => return Ok(Some(whole)),
            (Said::Name(name), Some(_)) => (Some(name), Reason::NameNotAllowed),
            _ => (None, Reason::NoName),
        };
        self.deny(Protocol::Tls, name.as_deref(), reason);
        client.write_all(&hello::UNRECOGNIZED_NAME).await?;
        client.shutdown().await?;
        Ok(None)
    }

    /// Connects to the server; if that fails the client sees it as if it had not been reached, as near as it gets.
    async fn reach(&self, client: &TcpStream) -> io::Result<TcpStream> {
        let server = self.connect().await;
        if server.is_err() {
            client.set_zero_linger()?;
        }
        server
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

async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    bytes.reserve(CHUNK);
    stream.read_buf(bytes).await
}

/// Whether one side begins with SSH in one of these versions, in time.
async fn says_ssh(stream: &mut TcpStream, bytes: &mut Vec<u8>, versions: &[&[u8]]) -> io::Result<bool> {
    let told = async {
        loop {
            if let Some(told) = speaks(bytes, versions) {
                return Ok(told);
            }
            if read(stream, bytes).await? == 0 {
                return Ok(false);
            }
        }
    };
    timeout(PATIENCE, told).await.unwrap_or(Ok(false))
}

/// Passes records on that may stand before a second ClientHello: a mark for old middle boxes, and early data, which a server
/// that asks for another hello does not read.
async fn pass_until_hello(client: &mut TcpStream, server: &mut TcpStream, said: &mut Vec<u8>) -> io::Result<()> {
    loop {
        if said.first() == Some(&hello::HANDSHAKE) {
            return Ok(());
        }
        if let Some(record) = hello::record(said) {
            let length = record.len();
            server.write_all(record).await?;
            said.drain(..length);
        } else if read(client, said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use sebring_types::runner::Egress;
    use tokio::sync::Notify;

    use super::hello::tests::{AGAIN, hello, name, server_hello, signatures};
    use super::*;
    use crate::network::tests::{LOOPBACK, parts_with};

    fn hello_for(host: &str) -> Vec<u8> {
        hello(&[name(host), signatures()])
    }

    /// A client that may speak to good.test, on the way to the server that listens.
    async fn client() -> (TcpStream, TcpListener) {
        let server = TcpListener::bind((LOOPBACK, 0)).await.expect("bind");
        let SocketAddr::V4(to) = server.local_addr().expect("address") else { panic!("IPv4") };
        let inspector = TcpListener::bind((LOOPBACK, 0)).await.expect("bind");
        let client = TcpStream::connect(inspector.local_addr().expect("address")).await.expect("connected");
        let (stream, _) = inspector.accept().await.expect("a connection");
        let domains = vec!["good.test".parse().expect("a domain")];
        let parts = parts_with(Egress::Named { domains, ranges: Vec::new() });
        let source = parts.sources.get(LOOPBACK).expect("a source");
        let (connection, cut) = source.connect(*to.ip()).expect("it runs");
        let place = Places::new(1, 1).take(LOOPBACK).expect("a place");
        let visit = Visit { connection, to, may_be_ssh: false, _place: place };
        tokio::spawn(async move {
            let _whole = (parts, cut);
            // How it ends is seen by the client.
            let _ = visit.serve(stream).await;
        });
        (client, server)
    }

    async fn hear(stream: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await.expect("as much");
        bytes
    }

    /// All that comes until the end, however that comes.
    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        bytes
    }

    #[tokio::test]
    async fn a_second_hello_is_judged_as_the_first() {
        const MARK: &[u8] = &[0x14, 3, 3, 0, 1, 1];
        let first = hello_for("good.test");
        for (host, passes) in [("good.test", true), ("bad.test", false)] {
            for at_once in [false, true] {
                let (mut client, server) = client().await;
                let second = [MARK, &hello_for(host)].concat();
                client.write_all(&first).await.expect("said");
                if at_once {
                    client.write_all(&second).await.expect("said");
                }
                let (mut server, _) = server.accept().await.expect("a connection");
                assert_eq!(hear(&mut server, first.len()).await, first);
                server.write_all(&server_hello(AGAIN)).await.expect("answered");
                assert_eq!(hear(&mut client, server_hello(AGAIN).len()).await, server_hello(AGAIN));
                if !at_once {
                    client.write_all(&second).await.expect("said");
                }
                if passes {
                    client.write_all(b"more").await.expect("said");
                    assert_eq!(hear(&mut server, second.len() + 4).await, [&second[..], b"more"].concat());
                } else {
                    assert_eq!(rest(&mut client).await, hello::UNRECOGNIZED_NAME);
                    assert_eq!(rest(&mut server).await, MARK);
                }
            }
        }
    }

    #[tokio::test]
    async fn what_follows_a_hello_passes_once_the_server_answered_it() {
        let (mut client, server) = client().await;
        let first = hello_for("good.test");
        client.write_all(&[&first[..], b"early"].concat()).await.expect("said");
        let (mut server, _) = server.accept().await.expect("a connection");
        assert_eq!(hear(&mut server, first.len()).await, first);
        server.write_all(&server_hello([7; 32])).await.expect("answered");
        assert_eq!(hear(&mut server, 5).await, b"early");
        assert_eq!(hear(&mut client, 11).await, server_hello([7; 32])[..11]);
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_tls_hears_no_more() {
        let (mut client, server) = client().await;
        let first = hello_for("good.test");
        client.write_all(&first).await.expect("said");
        client.write_all(b"GET / HTTP/1.1\r\nHost: bad.test\r\n\r\n").await.expect("said");
        let (mut server, _) = server.accept().await.expect("a connection");
        assert_eq!(hear(&mut server, first.len()).await, first);
        server.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("answered");
        assert_eq!(rest(&mut server).await, b"");
        assert_eq!(rest(&mut client).await, b"");
    }

    /// Whatever a client hides in or behind a request, the server gets one that ends where we say that it does.
    #[tokio::test]
    async fn nothing_is_hidden_in_a_request() {
        let hidden = "GET / HTTP/1.1\r\nHost: bad.test\r\n\r\n";
        let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: good.test\r\n{headers}\r\n\r\n{body}");
        let length = format!("Content-Length: {}", 5 + hidden.len());
        let behind = format!("0\r\n\r\n{hidden}");
        let tried = [
            post(&format!("{length}\r\nTransfer-Encoding: chunked"), &behind),
            post(&format!("Transfer-Encoding: chunked\r\n{length}"), &behind),
            post(&format!("{length}\r\nContent-Length: 5"), &behind),
            post("Content-Length: +5", &behind),
            post("Transfer-Encoding: xchunked", &behind),
            post("Transfer-Encoding: chunked, identity", &behind),
            post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", &behind),
            post("Transfer-Encoding : chunked", &behind),
            post(&format!("Transfer-Encoding:\x0bchunked\r\n{length}"), &behind),
            post("Transfer-Encoding: chunked", &format!("0;a=\n{hidden}\r\n\r\n{hidden}")),
            post("Transfer-Encoding: chunked", &format!("0\r\nHost: bad.test\r\n\r\n{hidden}")),
            post("Transfer-Encoding: chunked", &format!("-1\r\n\r\n{hidden}")),
            post("Transfer-Encoding: chunked", &format!("10000000000000000\r\n\r\n{hidden}")),
            post(&format!("X: y\r\n Host: bad.test\r\n{length}"), &behind),
            post(&format!("X: y\rHost: bad.test\r\n{length}"), &behind),
            post("Connection: Host", hidden),
            post("Upgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade", hidden),
            format!("GET /\tHTTP/1.1\r\nHost: bad.test HTTP/1.1\r\nHost: good.test\r\n\r\n{hidden}"),
            format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{hidden}"),
            format!("SSH-2.0-X / HTTP/1.1\r\nHost: good.test\r\n\r\n{hidden}"),
            format!("EHLO x\r\n{hidden}"),
        ];
        for said in tried {
            let (mut client, server) = client().await;
            let told = Arc::new(Notify::new());
            let heard = tokio::spawn({
                let told = told.clone();
                async move {
                    let mut stream = tokio::select! {
                        biased;
                        accepted = server.accept() => accepted.expect("a connection").0,
                        // The client was told, so nobody comes any more.
                        _ = told.notified() => return Vec::new(),
                    };
                    let mut bytes = Vec::new();
                    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                        if read(&mut stream, &mut bytes).await.unwrap_or_default() == 0 {
                            return bytes;
                        }
                    }
                    // The client may be gone.
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    [bytes, rest(&mut stream).await].concat()
                }
            });
            client.write_all(said.as_bytes()).await.expect("said");
            client.shutdown().await.expect("said all");
            rest(&mut client).await;
            told.notify_one();
            let heard = heard.await.expect("heard");
            let heard = String::from_utf8_lossy(&heard).to_lowercase();
            let (head, _) = heard.split_once("\r\n\r\n").unwrap_or((&heard, ""));
            let framings = ["content-length", "transfer-encoding"].map(|header| head.matches(header).count());
            assert!(framings.iter().sum::<usize>() <= 1, "{said:?} became {heard:?}");
            assert!(!head.contains("\nhost: bad.test") && !heard.contains("get / http/1.1\r\nhost: bad"), "{heard:?}");
        }
    }

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
