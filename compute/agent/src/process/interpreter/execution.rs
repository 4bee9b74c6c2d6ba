//! One execution: a WebSocket that takes code and gives its output, as it is produced.
//!
//! The client sends one text message, [`Wanted`]; the server streams JSON text messages and closes. When the time is
//! over or the client hangs up, the code is interrupted as by Ctrl-C, which leaves the context usable; code that
//! does not heed it within [`PATIENCE`] loses its process.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use super::context::{Context, Turn};
use super::worker::{Error, Lost};
use crate::agent::Agent;
use crate::guest::memory::Kills;
use crate::http::request::explain;
use crate::http::websocket::{Incoming, WebSocket, close_code};
use crate::process::environment::{self, Variables};
use crate::process::ledger::{Channel, Decoders, Piece, gap_text};

const DEFAULT_SECONDS: i64 = 600;
const PATIENCE: Duration = Duration::from_secs(2);
/// No timeout: far away, yet an instant that can be computed with.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    code: String,
    /// None for the default context.
    context_id: Option<String>,
    envs: Option<Variables>,
    /// Seconds; 0 for none.
    timeout: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Frame {
    Stdout { text: String },
    Stderr { text: String },
    Error { name: String, value: String, traceback: String },
    Control { text: &'static str },
}

/// How the WebSocket is closed.
type Farewell = (u16, String);

pub async fn converse(mut socket: WebSocket, agent: Arc<Agent>) {
    let Some(message) = socket.receive().await else { return };
    let (code, reason) = match accept(&agent, message) {
        Ok((wanted, context, limit)) => run(&mut socket, &agent, &wanted, &context, limit).await,
        Err(farewell) => farewell,
    };
    socket.close(code, &reason).await;
}

fn accept(agent: &Agent, message: Incoming) -> Result<(Wanted, Arc<Context>, Duration), Farewell> {
    let policy = |reason: String| (close_code::POLICY, reason);
    let wanted: Wanted = serde_json::from_slice(&message.into_bytes())
        .map_err(|error| (close_code::PROTOCOL_ERROR, format!("invalid request: {}", explain(&error))))?;
    if wanted.code.trim().is_empty() {
        return Err(policy("code is required: give Python code to run".to_owned()));
    }
    if let Some(envs) = &wanted.envs {
        environment::check(envs).map_err(|failure| policy(failure.message))?;
    }
    let seconds = wanted.timeout.unwrap_or(DEFAULT_SECONDS);
    let limit = match u32::try_from(seconds) {
        Ok(0) => NEVER,
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => return Err(policy(format!("timeout is {seconds}: give seconds, or 0 for none"))),
    };
    let context = match wanted.context_id.as_deref().filter(|id| !id.is_empty() && *id != super::DEFAULT) {
        None => agent.contexts.get_default(|id| Context::new(id, agent.work_dir.clone(), None)),
        Some(id) => agent.contexts.get(id).ok_or_else(|| policy(format!("interpreter context not found: {id}")))?,
    };
    if !context.is_active() {
        return Err(policy(format!("interpreter context {} is not active: create another one", context.id)));
    }
    Ok((wanted, context, limit))
}

async fn run(socket: &mut WebSocket, agent: &Agent, wanted: &Wanted, context: &Context, limit: Duration) -> Farewell {
    let kills = Kills::count();
    let mut turn = match context.turn(agent).await {
        Ok(Some(turn)) => turn,
        Ok(None) => return (close_code::POLICY, format!("interpreter context {} is not active", context.id)),
        Err(failure) => return (close_code::ERROR, failure.message),
    };
    let (end, rest) = follow(socket, &mut turn, wanted, context, limit).await;
    if let End::Died | End::Overdue = end {
        turn.discard().await;
    }
    // The next execution need not wait for this one's client.
    drop(turn);
    for (channel, text) in rest {
        send_output(socket, channel, text).await;
    }
    match end {
        End::Completed(error) => {
            let error = error.map(|Error { name, value, traceback }| Frame::Error { name, value, traceback });
            for frame in error.into_iter().chain([Frame::Control { text: "completed" }]) {
                send(socket, &frame).await;
            }
            (close_code::NORMAL, String::new())
        }
        // No frame before it: the TypeScript SDK takes any end marker for success and never looks at the close code.
        End::Interrupted | End::Overdue => (close_code::TIMEOUT, "execution timeout".to_owned()),
        End::Died => {
            let cause = kills.cause().map(|cause| format!(": {cause}")).unwrap_or_default();
            // Not 1001, which the TypeScript SDK takes for success.
            (close_code::ERROR, format!("the interpreter process has ended{cause}"))
        }
    }
}

enum End {
    Completed(Option<Error>),
    /// The code heeded the interrupt.
    Interrupted,
    /// It did not.
    Overdue,
    Died,
}

/// Output that was read and is not sent yet.
type Rest = Vec<(Channel, String)>;

/// Runs the code and passes its output on. A client that does not read holds up neither the deadline nor who deletes the context.
async fn follow(
    socket: &mut WebSocket,
    turn: &mut Turn<'_>,
    wanted: &Wanted,
    context: &Context,
    limit: Duration,
) -> (End, Rest) {
    let Some(worker) = turn.worker() else { return (End::Died, Rest::new()) };
    let ledger = worker.ledger();
    // What stands before it belongs to the code before.
    let mut place = ledger.place(worker.position());
    let mut decoders = Decoders::default();
    let nothing = Variables::new();
    let mut deadline = Instant::now() + limit;
    let sent = tokio::select! {
        sent = worker.send(&wanted.code, wanted.envs.as_ref().unwrap_or(&nothing)) => sent.is_ok(),
        // A process that does not take its code can't be asked to stop.
        () = sleep_until(deadline) => return (End::Overdue, Rest::new()),
        () = hung_up(socket) => return (End::Overdue, Rest::new()),
        () = context.deleted() => return (End::Died, Rest::new()),
    };
    let (mut interrupted, mut listening) = (false, true);
    let end = loop {
        if !sent {
            break End::Died;
        }
        tokio::select! {
            piece = place.next() => match text(piece, &mut decoders) {
                Some((channel, text)) if listening => {
                    let taken = tokio::select! {
                        taken = send_output(socket, channel, text) => taken,
                        () = sleep_until(deadline) => false,
                        () = context.deleted() => return (End::Died, Rest::new()),
                    };
                    if !taken {
                        (listening, deadline) = (false, Instant::now());
                    }
                }
                Some(_) => {}
                None => break End::Died,
            },
            report = worker.report() => break match report {
                Ok(_) if interrupted => End::Interrupted,
                Ok(error) => End::Completed(error),
                Err(Lost) => {
                    worker.kill().await;
                    End::Died
                }
            },
            () = sleep_until(deadline) => {
                if interrupted {
                    return (End::Overdue, Rest::new());
                }
                worker.interrupt();
                (interrupted, deadline) = (true, Instant::now() + PATIENCE);
            }
            message = socket.receive(), if listening => {
                // More messages mean nothing; the end of them is the client's.
                if message.is_none() {
                    (listening, deadline) = (false, Instant::now());
                }
            }
            () = context.deleted() => return (End::Died, Rest::new()),
        }
    };
    // What had been written by then.
    let (written, mut rest) = (worker.position(), Rest::new());
    while let Some(piece) = place.next_before(written) {
        rest.extend(text(piece, &mut decoders));
    }
    rest.extend(decoders.finish().map(|(channel, text)| (channel, text.to_owned())));
    ledger.forget();
    (end, if listening { rest } else { Rest::new() })
}

/// What a piece says, on which channel. None at the end.
fn text(piece: Piece, decoders: &mut Decoders) -> Option<(Channel, String)> {
    match piece {
        Piece::Output(channel, bytes) => Some((channel, decoders.decode(channel, &bytes))),
        Piece::Gap(bytes) => Some((Channel::Stderr, gap_text(bytes))),
        Piece::End => None,
    }
}

/// Waits until the client has gone. Its messages mean nothing.
async fn hung_up(socket: &mut WebSocket) {
    while socket.receive().await.is_some() {}
}

/// False when the client has gone.
async fn send_output(socket: &mut WebSocket, channel: Channel, text: String) -> bool {
    text.is_empty()
        || match channel {
            Channel::Stderr => send(socket, &Frame::Stderr { text }).await,
            Channel::Stdout | Channel::Pty => send(socket, &Frame::Stdout { text }).await,
        }
}

/// False when the client has gone.
async fn send(socket: &mut WebSocket, frame: &Frame) -> bool {
    // Strings only: this cannot fail.
    let text = serde_json::to_string(frame).unwrap_or_default();
    socket.send_text(text).await.is_ok()
}
