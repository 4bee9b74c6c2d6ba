//! The runner's side of the handshake (`sebring_types::agent`).
//!
//! What answers sits in a sandbox, and may be anybody. So there is one deadline for the whole, one answer of a few KiB, and
//! nothing that other starts need is held meanwhile: no thread, no permit.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use sebring_types::RunnerError;
use sebring_types::agent::{AgentConfig, AgentReply, FailureKind, PROTOCOL, REPLY_LIMIT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Characters of the agent's message that its user gets to see.
const MESSAGE_LIMIT: usize = 600;

/// Tells an agent who it is, and waits until it listens.
pub(crate) async fn introduce(
    handshake: &StdStream,
    config: &AgentConfig,
    deadline: Duration,
) -> Result<(), RunnerError> {
    match timeout(deadline, exchange(handshake, config)).await {
        Ok(Ok(reply)) => judge(&reply),
        Ok(Err(error)) => Err(RunnerError::Internal(format!("the sandbox ended while it started ({error})"))),
        Err(_) => Err(RunnerError::Internal(format!(
            "the sandbox did not start within {} s: is the host overloaded, or its image damaged?",
            deadline.as_secs()
        ))),
    }
}

/// Answers what came to the end of the stream, or a little more than a reply may have.
async fn exchange(handshake: &StdStream, config: &AgentConfig) -> io::Result<Vec<u8>> {
    let stream = handshake.try_clone()?;
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    stream.write_all(&serde_json::to_vec(config)?).await?;
    stream.shutdown().await?;
    let mut reply = Vec::with_capacity(256);
    stream.take(REPLY_LIMIT as u64 + 1).read_to_end(&mut reply).await?;
    Ok(reply)
}

fn judge(reply: &[u8]) -> Result<(), RunnerError> {
    let internal = |text: String| Err(RunnerError::Internal(text));
    if reply.is_empty() {
        return internal(
            "the sandbox ended while it started: is its memory limit too small, or its image damaged?".into(),
        );
    }
    if reply.len() > REPLY_LIMIT {
        return internal(format!("the sandbox's agent answered more than {REPLY_LIMIT} bytes when it was started"));
    }
    match serde_json::from_slice(reply) {
        Ok(AgentReply::Ready { protocol: PROTOCOL, .. }) => Ok(()),
        Ok(AgentReply::Ready { protocol, .. }) => {
            internal(format!("the agent speaks protocol {protocol}, expected {PROTOCOL}"))
        }
        Ok(AgentReply::Failed { kind, message }) => {
            let message = message.chars().filter(|c| !c.is_control()).take(MESSAGE_LIMIT).collect();
            Err(match kind {
                FailureKind::UserNotFound => RunnerError::Invalid(message),
                FailureKind::Storage => RunnerError::Exhausted(message),
                FailureKind::Internal => RunnerError::Internal(message),
            })
        }
        Err(error) => internal(format!("the sandbox's agent gave no proper answer when it was started ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::thread;

    use super::*;

    const READY: &[u8] = br#"{"ready":{"protocol":1,"version":"1"}}"#;

    fn config(value: String) -> AgentConfig {
        AgentConfig {
            protocol: PROTOCOL,
            sandbox_id: String::new(),
            hostname: String::new(),
            user: String::new(),
            work_dir: None,
            env: BTreeMap::from([("NAME".to_owned(), value)]),
            nameserver: None,
            address: None,
            entrypoint: Vec::new(),
            grace_seconds: 0,
        }
    }

    /// What comes of an agent that does this with its end.
    async fn with(agent: impl FnOnce(StdStream) + Send + 'static) -> Result<(), String> {
        let (ours, theirs) = StdStream::pair().expect("a pair");
        let agent = thread::spawn(move || agent(theirs));
        let result = introduce(&ours, &config("x".repeat(1 << 20)), Duration::from_secs(1)).await;
        drop(ours);
        agent.join().expect("no panic");
        result.map_err(|error| error.to_string())
    }

    fn read(mut stream: &StdStream) {
        stream.read_to_end(&mut Vec::new()).expect("the configuration");
    }

    async fn answers(reply: Vec<u8>) -> Result<(), String> {
        // Who has read enough hangs up.
        with(move |mut stream| {
            read(&stream);
            let _ = stream.write_all(&reply);
        })
        .await
    }

    #[tokio::test]
    async fn one_short_answer_is_taken() {
        assert_eq!(answers(READY.to_vec()).await, Ok(()));
        let padded = [b" ".repeat(100).as_slice(), READY, b"\n"].concat();
        assert_eq!(answers(padded).await, Ok(()));
    }

    #[tokio::test]
    async fn no_other_answer_is_taken() {
        for (reply, told) in [
            (Vec::new(), "ended while it started"),
            (vec![0xff; 100], "no proper answer"),
            ([READY, READY].concat(), "no proper answer"),
            ([READY, b"\0"].concat(), "no proper answer"),
            (br#"{"ready":{"protocol":2,"version":""}}"#.to_vec(), "speaks protocol 2"),
            ([READY, b" ".repeat(REPLY_LIMIT).as_slice()].concat(), "more than 4096 bytes"),
            (vec![b' '; 64 << 20], "more than 4096 bytes"),
        ] {
            let error = answers(reply).await.expect_err("refused");
            assert!(error.contains(told), "{error}");
        }
    }

    #[tokio::test]
    async fn its_message_is_short_and_printable() {
        let message = "\u{1b}[2J".to_owned() + &"x".repeat(3000);
        let failed = AgentReply::Failed { kind: FailureKind::Internal, message };
        let error = answers(serde_json::to_vec(&failed).expect("text")).await.expect_err("refused");
        assert!(error.contains("[2Jxxx") && !error.contains('\u{1b}') && error.len() < 700, "{error}");
    }

    #[tokio::test]
    async fn the_deadline_is_of_the_whole() {
        let trickle = |mut stream: StdStream| {
            read(&stream);
            while stream.write_all(b" ").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        };
        let deaf = |mut stream: StdStream| {
            // Less than the configuration, then nothing until the other end is gone.
            stream.read_exact(&mut [0; 10]).expect("its begin");
            thread::sleep(Duration::from_millis(1500));
        };
        let endless = |mut stream: StdStream| {
            read(&stream);
            stream.write_all(READY).expect("written");
            thread::sleep(Duration::from_millis(1500));
        };
        for error in [with(trickle).await, with(deaf).await, with(endless).await] {
            let error = error.expect_err("too slow");
            assert!(error.contains("within 1 s"), "{error}");
        }
    }
}
