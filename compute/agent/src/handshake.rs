//! The conversation with the runner on descriptor 3; its rules stand in [`sebring_types::agent`].

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};

use sebring_types::agent::{AgentConfig, AgentReply, FailureKind, HANDSHAKE_FD, PROTOCOL};

/// Characters of a message; as JSON each takes six bytes at most, so that the whole keeps within
/// [`REPLY_LIMIT`](sebring_types::agent::REPLY_LIMIT).
const MESSAGE_LIMIT: usize = 600;

/// The open descriptor, until the one reply is written.
pub struct Handshake {
    stream: Option<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("descriptor 3 is not open: the agent is started by the runner")]
    Absent,
    #[error("cannot read the configuration: {0}")]
    Read(#[source] std::io::Error),
    #[error("cannot understand the configuration: {0}")]
    Malformed(#[source] serde_json::Error),
    #[error("the runner speaks protocol {theirs}, the agent {PROTOCOL}")]
    Protocol { theirs: u32 },
}

impl Handshake {
    /// Takes descriptor 3.
    pub fn take() -> Result<Self, HandshakeError> {
        nix::fcntl::fcntl(
            // SAFETY: only borrowed for a call that fails on a closed descriptor.
            unsafe { std::os::fd::BorrowedFd::borrow_raw(HANDSHAKE_FD) },
            nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
        )
        .map_err(|_| HandshakeError::Absent)?;
        // SAFETY: the descriptor is open, and by the contract of the handshake it belongs to this program alone.
        let descriptor = unsafe { OwnedFd::from_raw_fd(HANDSHAKE_FD) };
        Ok(Self { stream: Some(File::from(descriptor)) })
    }

    /// Waits for the configuration and reads it to the end of the stream. What goes wrong is also told to the runner.
    pub fn receive(&mut self) -> Result<AgentConfig, HandshakeError> {
        self.read().inspect_err(|error| self.fail(FailureKind::Internal, &error.to_string()))
    }

    fn read(&mut self) -> Result<AgentConfig, HandshakeError> {
        let mut text = Vec::with_capacity(4096);
        if let Some(stream) = &mut self.stream {
            stream.read_to_end(&mut text).map_err(HandshakeError::Read)?;
        }
        let config: AgentConfig = serde_json::from_slice(&text).map_err(HandshakeError::Malformed)?;
        match config.protocol {
            PROTOCOL => Ok(config),
            theirs => Err(HandshakeError::Protocol { theirs }),
        }
    }

    pub fn ready(&mut self) {
        self.reply(&AgentReply::Ready { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() });
    }

    pub fn fail(&mut self, kind: FailureKind, message: &str) {
        // What the message quotes may be longer than a reply.
        let message = message.chars().take(MESSAGE_LIMIT).collect();
        self.reply(&AgentReply::Failed { kind, message });
    }

    /// Writes the one reply and closes the descriptor; later replies have nowhere to go. A runner that is gone reads
    /// nothing, and the sandbox is then its successor's to judge.
    fn reply(&mut self, reply: &AgentReply) {
        if let Some(mut stream) = self.stream.take()
            && let Ok(text) = serde_json::to_vec(reply)
        {
            let _ = stream.write_all(&text);
        }
    }
}
