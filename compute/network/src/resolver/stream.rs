//! Queries over TCP: several on a connection, each answered before the next.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{ATTEMPT, HEADER, Sources, server_failure};
use crate::names;

/// A client may take so long with all its queries.
const CONNECTION: Duration = Duration::from_secs(30);

/// Serves one connection.
pub async fn converse(stream: TcpStream, client: SocketAddr, sources: Arc<Sources>, _permit: OwnedSemaphorePermit) {
    match timeout(CONNECTION, answer_in_turn(stream, client, &sources)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%client, %error, "connection for name queries ended"),
        Err(_) => tracing::debug!(%client, "connection for name queries took too long"),
    }
}

async fn answer_in_turn(mut stream: TcpStream, client: SocketAddr, sources: &Sources) -> io::Result<()> {
    while let Some(query) = read(&mut stream).await? {
        let reply = match names::answer(&sources.links, client.ip(), &query) {
            Some(reply) => reply,
            None => pass_on(&sources.upstreams, query).await,
        };
        write(&mut stream, &reply).await?;
    }
    Ok(())
}

/// A connection for each query: one that waits for the next may be closed by the other side meanwhile.
async fn pass_on(upstreams: &[SocketAddr], query: Vec<u8>) -> Vec<u8> {
    for upstream in upstreams {
        match timeout(ATTEMPT, ask(*upstream, &query)).await {
            Ok(Ok(Some(reply))) => return reply,
            Ok(Ok(None)) => tracing::debug!(%upstream, "resolver of the host hung up"),
            Ok(Err(error)) => tracing::debug!(%upstream, %error, "resolver of the host failed"),
            Err(_) => tracing::debug!(%upstream, "resolver of the host did not answer"),
        }
    }
    server_failure(query)
}

async fn ask(upstream: SocketAddr, query: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(upstream).await?;
    write(&mut stream, query).await?;
    read(&mut stream).await
}

/// The next message of a stream, which begins with its length (RFC 1035 §4.2.2); none at its end.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => usize::from(other?),
    };
    if length < HEADER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without a header"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

pub async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}
