//! Answers the sandboxes' name queries: those about linked sandboxes itself, the others by asking the host's resolvers.
//!
//! Their answers pass unread: one that names an address a sandbox must not reach does not open it, since the packet rules
//! stand on their own.

mod stream;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{Links, NetworkError, names};

const PORT: u16 = 53;
/// Of one attempt at one of the host's resolvers, which ask others themselves.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Queries under way at once; more are dropped, as by any busy resolver.
const CONCURRENT: usize = 1024;
/// The largest message over UDP with EDNS that is in use.
const MESSAGE: usize = 4096;
/// The fixed part of a message (RFC 1035 §4.1.1).
const HEADER: usize = 12;

/// A bound resolver.
#[derive(Debug)]
pub struct Resolver {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    sources: Arc<Sources>,
}

/// Where answers come from.
#[derive(Debug)]
struct Sources {
    links: Arc<Links>,
    upstreams: Vec<SocketAddr>,
}

impl Resolver {
    /// Binds port 53 of the gateway's address.
    pub async fn bind(gateway: Ipv4Addr, links: Arc<Links>) -> Result<Self, NetworkError> {
        let upstreams = upstreams(Path::new("/etc/resolv.conf"));
        if upstreams.is_empty() {
            tracing::warn!("the host's /etc/resolv.conf names no resolver: sandboxes cannot resolve names");
        }
        Self::bind_to((gateway, PORT).into(), Sources { links, upstreams }).await
    }

    async fn bind_to(address: SocketAddr, sources: Sources) -> Result<Self, NetworkError> {
        let udp = UdpSocket::bind(address).await.map_err(NetworkError::io("UDP port of the resolver"))?;
        let bound = udp.local_addr().map_err(NetworkError::io("address of the resolver"))?;
        let tcp = TcpListener::bind(bound).await.map_err(NetworkError::io("TCP port of the resolver"))?;
        Ok(Self { udp: Arc::new(udp), tcp, sources: Arc::new(sources) })
    }

    /// Serves until dropped.
    pub async fn run(self) {
        let free = Arc::new(Semaphore::new(CONCURRENT));
        let mut message = vec![0; MESSAGE];
        loop {
            tokio::select! {
                received = self.udp.recv_from(&mut message) => match received {
                    Ok((length, client)) => {
                        let Ok(permit) = free.clone().try_acquire_owned() else { continue };
                        let query = message[..length].to_vec();
                        tokio::spawn(answer(self.udp.clone(), query, client, self.sources.clone(), permit));
                    }
                    // An earlier answer could not be delivered; that says nothing about the next query.
                    Err(error) => tracing::debug!(%error, "resolver socket"),
                },
                accepted = self.tcp.accept() => {
                    if let Ok((stream, client)) = accepted
                        && let Ok(permit) = free.clone().try_acquire_owned()
                    {
                        tokio::spawn(stream::converse(stream, client, self.sources.clone(), permit));
                    }
                }
            }
        }
    }
}

async fn answer(
    socket: Arc<UdpSocket>,
    query: Vec<u8>,
    client: SocketAddr,
    sources: Arc<Sources>,
    _permit: OwnedSemaphorePermit,
) {
    if query.len() < HEADER {
        return;
    }
    let mut reply = names::answer(&sources.links, client.ip(), &query);
    for upstream in &sources.upstreams {
        if reply.is_some() {
            break;
        }
        match timeout(ATTEMPT, ask(*upstream, &query)).await {
            Ok(Ok(message)) => reply = Some(message),
            Ok(Err(error)) => tracing::debug!(%upstream, %error, "resolver of the host failed"),
            Err(_) => tracing::debug!(%upstream, "resolver of the host did not answer"),
        }
    }
    let reply = reply.unwrap_or_else(|| server_failure(query));
    if let Err(error) = socket.send_to(&reply, client).await {
        tracing::debug!(%client, %error, "answer not delivered");
    }
}

/// One query from a port of its own, so that nobody else can guess where the answer is awaited.
async fn ask(upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
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

/// The query turned into an answer with response code 2 (RFC 1035 §4.1.1).
fn server_failure(mut query: Vec<u8>) -> Vec<u8> {
    query[2] |= 0x80;
    query[3] = (query[3] & 0xf0) | 2;
    query
}

/// The `nameserver` lines of `resolv.conf(5)`.
fn upstreams(path: &Path) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
        })
        .map(|address| SocketAddr::new(address, PORT))
        .collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::{Claim, Subnet};

    const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x01\x00\x01";

    /// A resolver with that of the host, and nobody linked.
    async fn resolver(upstreams: Vec<SocketAddr>) -> SocketAddr {
        let links = Links::new(Claim { place: 99, subnet: Subnet::new(10, 209) }, []);
        let sources = Sources { links: Arc::new(links), upstreams };
        let resolver = Resolver::bind_to(([127, 0, 0, 1], 0).into(), sources).await.expect("bind");
        let address = resolver.udp.local_addr().expect("address");
        tokio::spawn(resolver.run());
        address
    }

    #[tokio::test]
    async fn passes_the_answer_of_the_host() {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
        let address = upstream.local_addr().expect("address");
        tokio::spawn(async move {
            let mut message = [0; 512];
            let (length, from) = upstream.recv_from(&mut message).await.expect("query");
            message[2] |= 0x80;
            upstream.send_to(&message[..length], from).await.expect("answer");
        });
        let reply = ask(resolver(vec![address]).await, QUERY).await.expect("an answer");
        assert_eq!((reply[2] & 0x80, reply[3] & 0x0f), (0x80, 0));
    }

    #[tokio::test]
    async fn says_so_when_nobody_answers() {
        let reply = ask(resolver(Vec::new()).await, QUERY).await.expect("an answer");
        assert_eq!((&reply[..2], reply[3] & 0x0f), (&QUERY[..2], 2));
    }

    #[tokio::test]
    async fn serves_a_stream_of_queries() {
        let upstream = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = upstream.local_addr().expect("address");
        tokio::spawn(async move {
            // It answers some, hangs up on the second, and answers again.
            for id in 1.. {
                let (mut stream, _) = upstream.accept().await.expect("a connection");
                let mut query = stream::read(&mut stream).await.expect("no failure").expect("a query");
                query[2] |= 0x80;
                if id != 2 {
                    stream::write(&mut stream, &query).await.expect("answered");
                }
            }
        });
        let mut client = TcpStream::connect(resolver(vec![address]).await).await.expect("connected");
        for (id, code) in [(1, 0), (2, 2), (3, 0)] {
            stream::write(&mut client, &[&[0, id], &QUERY[2..]].concat()).await.expect("sent");
            let reply = stream::read(&mut client).await.expect("no failure").expect("an answer");
            assert_eq!((reply[1], reply[2] & 0x80, reply[3] & 0x0f), (id, 0x80, code), "query {id}");
        }
        stream::write(&mut client, b"short").await.expect("sent");
        assert!(!matches!(stream::read(&mut client).await, Ok(Some(_))), "no message, no answer");
    }
}
