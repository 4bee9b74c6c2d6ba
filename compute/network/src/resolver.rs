//! Answers the sandboxes' name queries: those about linked sandboxes itself, the others by asking other resolvers.
//!
//! Messages of sandboxes that may ask for anything pass unread: an answer that names an address a sandbox must not reach
//! does not open it, since the packet rules stand on their own. A sandbox with a list of names gets answers about these
//! only, and before it gets one, what it names is opened. One with a list of ranges and no names gets none, unless the operator
//! says so: a question carries its name to a stranger's server.
//!
//! Who is no running sandbox gets no answer. UDP and TCP have places apart, and each sandbox so many of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sebring_types::denial::{Protocol, Reason};
use simple_dns::RCODE;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::answer::Answer;
use crate::asked::{Asked, HEADER, reply};
use crate::network::Parts;
use crate::places::{Place, Places};
use crate::source::{Asking, Source};
use crate::upstream::{MESSAGE, PORT, Transport, Upstreams, receive, send};
use crate::{NetworkError, names};

/// A TCP connection may carry several queries.
const CONNECTION: Duration = Duration::from_secs(30);
/// How long a client may take for a query, and be silent between two.
const IDLE: Duration = Duration::from_secs(5);
/// Queries under way at once; more are dropped, as by any busy resolver.
const QUERIES: usize = 1024;
const QUERIES_EACH: usize = 128;
/// TCP connections at once.
const CONNECTIONS: usize = 512;
const CONNECTIONS_EACH: usize = 32;
/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound resolver.
#[derive(Debug)]
pub(crate) struct Resolver {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    answers: Answers,
}

impl Resolver {
    /// Binds port 53 of the gateway's address.
    pub async fn bind(gateway: Ipv4Addr, resolvers: &[SocketAddr], parts: Arc<Parts>) -> Result<Self, NetworkError> {
        Self::bind_to((gateway, PORT).into(), Upstreams::new(resolvers), parts).await
    }

    async fn bind_to(address: SocketAddr, upstreams: Upstreams, parts: Arc<Parts>) -> Result<Self, NetworkError> {
        let udp = UdpSocket::bind(address).await.map_err(NetworkError::io("UDP port of the resolver"))?;
        let bound = udp.local_addr().map_err(NetworkError::io("address of the resolver"))?;
        let tcp = TcpListener::bind(bound).await.map_err(NetworkError::io("TCP port of the resolver"))?;
        Ok(Self { udp: Arc::new(udp), tcp, answers: Answers { upstreams, parts } })
    }

    /// Serves until dropped.
    pub async fn run(self) {
        let queries = Places::new(QUERIES, QUERIES_EACH);
        let connections = Places::new(CONNECTIONS, CONNECTIONS_EACH);
        let mut message = vec![0; MESSAGE];
        loop {
            tokio::select! {
                received = self.udp.recv_from(&mut message) => match received {
                    Ok((length, client)) => {
                        let Some((source, place)) = self.admit(client, &queries) else { continue };
                        let query = message[..length].to_vec();
                        tokio::spawn(one(self.udp.clone(), query, client, source, self.answers.clone(), place));
                    }
                    // An earlier answer could not be delivered; that says nothing about the next query.
                    Err(error) => tracing::debug!(%error, "resolver socket"),
                },
                (stream, client) = accept(&self.tcp) => {
                    if let Some((source, place)) = self.admit(client, &connections) {
                        tokio::spawn(several(stream, source, self.answers.clone(), place));
                    }
                }
            }
        }
    }

    /// The running sandbox that a client is, with a place for it.
    fn admit(&self, client: SocketAddr, places: &Places) -> Option<(Arc<Source>, Place)> {
        let IpAddr::V4(address) = client.ip() else { return None };
        Some((self.answers.parts.sources.get(address)?, places.take(address)?))
    }
}

/// The next connection. While the server has no descriptor for it, it is asked for again after a pause.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::debug!(%error, "connection to the resolver");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn one(
    socket: Arc<UdpSocket>,
    query: Vec<u8>,
    client: SocketAddr,
    source: Arc<Source>,
    answers: Answers,
    _place: Place,
) {
    if let Some(reply) = answers.to(query, &source, Transport::Udp).await
        && let Err(error) = socket.send_to(&reply, client).await
    {
        tracing::debug!(%client, %error, "answer not delivered");
    }
}

async fn several(mut stream: TcpStream, source: Arc<Source>, answers: Answers, _place: Place) {
    let conversation = async {
        while let Some(query) = timeout(IDLE, receive(&mut stream)).await?? {
            let Some(reply) = answers.to(query, &source, Transport::Tcp).await else { break };
            send(&mut stream, &reply).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    // However it ends, the client sees that it did.
    let _ = timeout(CONNECTION, conversation).await;
}

/// Cheap to clone.
#[derive(Debug, Clone)]
struct Answers {
    upstreams: Upstreams,
    parts: Arc<Parts>,
}

impl Answers {
    /// The answer to a sandbox; none for what is not even a message.
    async fn to(&self, query: Vec<u8>, source: &Arc<Source>, transport: Transport) -> Option<Vec<u8>> {
        if query.len() < HEADER {
            return None;
        }
        // Asked each time: the rule may change while a connection is open.
        let asking = match source.asking() {
            Asking::NoNames if self.parts.names_for_ranges => Asking::Anything,
            asking => asking,
        };
        if asking != Asking::Nothing
            && let Some(answer) = names::answer(&self.parts.links, source.address.into(), &query)
        {
            return Some(answer);
        }
        match asking {
            Asking::Anything => {
                let answer = self.upstreams.ask(&query, transport).await;
                Some(answer.unwrap_or_else(|| reply(query, RCODE::ServerFailure)))
            }
            Asking::SomeNames => {
                let Some(asked) = Asked::read(&query) else { return Some(reply(query, RCODE::Refused)) };
                let answer = self.about_a_name(&asked, source).await;
                let answer = answer.unwrap_or_else(|| asked.nothing(RCODE::ServerFailure));
                let fits = transport == Transport::Tcp || answer.len() <= asked.room;
                Some(if fits { answer } else { asked.truncated() })
            }
            Asking::NoNames => {
                let Some(asked) = Asked::read(&query) else { return Some(reply(query, RCODE::Refused)) };
                source.deny(Protocol::Dns, Some(&asked.name), None, Reason::NameNotAllowed);
                Some(asked.nothing(RCODE::NameError))
            }
            Asking::Nothing => Some(reply(query, RCODE::Refused)),
        }
    }

    /// The answer to one that may only ask for some names; none when it can't be had.
    async fn about_a_name(&self, asked: &Asked, source: &Arc<Source>) -> Option<Vec<u8>> {
        let deny = |to, reason| source.deny(Protocol::Dns, Some(&asked.name), to, reason);
        if !source.may_name(&asked.name) {
            deny(None, Reason::NameNotAllowed);
            return Some(asked.nothing(RCODE::NameError));
        }
        if asked.wants_hidden_addresses() {
            return Some(asked.nothing(RCODE::NoError));
        }
        let message = self.ask_anew(asked).await?;
        if !asked.wants_addresses() {
            // The number is the client's; nothing in such an answer opens an address.
            return Some([&asked.id.to_be_bytes()[..], message.get(2..)?].concat());
        }
        let answer = Answer::read(asked, &message, |address| self.parts.unreachable.reason(address))?;
        for (address, reason) in &answer.withheld {
            deny(Some((*address, None)), *reason);
        }
        let (opener, table) = (source.clone(), self.parts.clone());
        let (name, addresses) = (asked.name.clone(), answer.addresses);
        let opened = tokio::task::spawn_blocking(move || opener.open(&table.table, &name, &addresses)).await;
        match opened.map_err(std::io::Error::other).flatten() {
            Ok(Ok(())) => Some(answer.message),
            Ok(Err(reason)) => {
                deny(None, reason);
                Some(asked.nothing(RCODE::NameError))
            }
            Err(error) => {
                tracing::error!(sandbox_id = %source.sandbox, %error, "addresses of a name were not opened");
                None
            }
        }
    }

    /// What the resolvers say. A sandbox that could guess the number of the question could have others forge the answer.
    async fn ask_anew(&self, asked: &Asked) -> Option<Vec<u8>> {
        let number = getrandom::u32().ok()?;
        let question = asked.question(number as u16)?;
        let message = self.upstreams.ask(&question, Transport::Udp).await?;
        let truncated = message[2] & 0x02 != 0;
        if truncated { self.upstreams.ask(&question, Transport::Tcp).await } else { Some(message) }
    }
}

#[cfg(test)]
mod tests {
    use sebring_types::runner::Egress;

    use super::*;
    use crate::network::tests::{LOOPBACK, parts, parts_with};
    use crate::upstream::by_udp;

    const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x01\x00\x01";

    async fn resolver(upstreams: &[SocketAddr]) -> SocketAddr {
        serve(upstreams, parts()).await
    }

    async fn serve(upstreams: &[SocketAddr], parts: Parts) -> SocketAddr {
        let parts = Arc::new(parts);
        let resolver = loop {
            let bound = Resolver::bind_to((LOOPBACK, 0).into(), Upstreams::of(upstreams), parts.clone()).await;
            match bound {
                Ok(resolver) => break resolver,
                // A port that is free for one transport may be another test's for the other.
                Err(NetworkError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => panic!("{error}"),
            }
        };
        let address = resolver.udp.local_addr().expect("address");
        tokio::spawn(resolver.run());
        address
    }

    /// Answers each query with itself, by either transport.
    async fn upstream() -> SocketAddr {
        let (udp, tcp, address) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
            let address = udp.local_addr().expect("address");
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp, address);
            }
        };
        tokio::spawn(async move {
            let mut message = [0; 512];
            let (length, from) = udp.recv_from(&mut message).await.expect("query");
            message[2] |= 0x80;
            udp.send_to(&message[..length], from).await.expect("answer");
        });
        tokio::spawn(async move {
            let (mut stream, _) = tcp.accept().await.expect("connection");
            let mut message = receive(&mut stream).await.expect("a query").expect("a query");
            message[2] |= 0x80;
            send(&mut stream, &message).await.expect("answer");
        });
        address
    }

    #[tokio::test]
    async fn serves_a_stream_of_queries() {
        let upstream = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = upstream.local_addr().expect("address");
        tokio::spawn(async move {
            // It answers some, hangs up on the second, and answers again.
            for id in 1.. {
                let (mut stream, _) = upstream.accept().await.expect("a connection");
                let mut query = receive(&mut stream).await.expect("no failure").expect("a query");
                query[2] |= 0x80;
                if id != 2 {
                    send(&mut stream, &query).await.expect("answered");
                }
            }
        });
        let mut client = TcpStream::connect(resolver(&[address]).await).await.expect("connected");
        for (id, code) in [(1, 0), (2, 2), (3, 0)] {
            send(&mut client, &[&[0, id], &QUERY[2..]].concat()).await.expect("sent");
            let reply = receive(&mut client).await.expect("no failure").expect("an answer");
            assert_eq!((reply[1], reply[2] & 0x80, reply[3] & 0x0f), (id, 0x80, code), "query {id}");
        }
        send(&mut client, b"short").await.expect("sent");
        assert!(!matches!(receive(&mut client).await, Ok(Some(_))), "no message, no answer");
    }

    #[tokio::test]
    async fn one_who_says_nothing_keeps_nobody_from_asking() {
        let address = resolver(&[upstream().await]).await;
        let mut idle = Vec::new();
        for _ in 0..2 * CONNECTIONS_EACH {
            idle.push(TcpStream::connect(address).await.expect("connected"));
        }
        // Those beyond its share are hung up on at once, not when their time is over.
        let (mut last, mut byte) = (idle.pop().expect("some"), [0]);
        let read = timeout(IDLE / 2, tokio::io::AsyncReadExt::read(&mut last, &mut byte)).await.expect("hung up");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        let reply = by_udp(address, QUERY).await.expect("an answer");
        assert_eq!((reply[2] & 0x80, reply[3] & 0x0f), (0x80, 0));
    }

    #[tokio::test]
    async fn who_may_reach_ranges_only_gets_no_names() {
        for (names_for_ranges, code) in [(false, RCODE::NameError), (true, RCODE::NoError)] {
            let mut parts = parts_with(Egress::Only(vec!["192.0.2.0/24".parse().expect("a range")]));
            parts.names_for_ranges = names_for_ranges;
            let source = parts.sources.get(LOOPBACK).expect("a source");
            let answers = Answers { upstreams: Upstreams::of(&[upstream().await]), parts: Arc::new(parts) };
            let reply = answers.to(QUERY.to_vec(), &source, Transport::Udp).await.expect("an answer");
            assert_eq!((reply[2] & 0x80, reply[3] & 0x0f), (0x80, code as u8));
        }
    }

    #[tokio::test]
    async fn a_stranger_gets_no_answer() {
        let parts = parts();
        parts.sources.remove(LOOPBACK);
        let mut stream = TcpStream::connect(serve(&[upstream().await], parts).await).await.expect("a connection");
        // It may be closed before this is sent.
        let _ = send(&mut stream, QUERY).await;
        assert!(!matches!(receive(&mut stream).await, Ok(Some(_))));
    }

    #[tokio::test]
    async fn passes_the_answer_of_the_host() {
        let address = resolver(&[upstream().await]).await;
        let reply = by_udp(address, QUERY).await.expect("an answer");
        assert_eq!((reply[2] & 0x80, reply[3] & 0x0f), (0x80, 0));
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        send(&mut stream, QUERY).await.expect("sent");
        let reply = receive(&mut stream).await.expect("an answer").expect("an answer");
        assert_eq!((&reply[..2], reply[2] & 0x80), (&QUERY[..2], 0x80));
    }

    #[tokio::test]
    async fn says_so_when_nobody_answers() {
        let reply = by_udp(resolver(&[]).await, QUERY).await.expect("an answer");
        assert_eq!((&reply[..2], reply[3] & 0x0f), (&QUERY[..2], 2));
    }
}
