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
use super::worker::{Error, Lost, Report};
use crate::agent::Agent;
use crate::guest::memory::Kills;
use crate::http::request::explain;
use crate::http::websocket::{Incoming, WebSocket, close_code};
use crate::process::environment::{self, Variables};
use crate::process::ledger::{Channel, Decoders, Piece, gap_text};

const DEFAULT_SECONDS: i64 = 600;
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a process, which may just have been started, may take to begin with code that nobody waits for any more.
const TAKING: Duration = Duration::from_secs(10);
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
    let mut frames: Vec<_> = rest.into_iter().map(|(channel, text)| output(channel, text)).collect();
    let farewell = match end {
        End::Completed(error) => {
            frames.extend(error.map(|Error { name, value, traceback }| Frame::Error { name, value, traceback }));
            frames.push(Frame::Control { text: "completed" });
            (close_code::NORMAL, String::new())
        }
        // No frame before it: the TypeScript SDK takes any end marker for success and never looks at the close code.
        End::Interrupted | End::Overdue => (close_code::TIMEOUT, "execution timeout".to_owned()),
        End::Died => {
            let cause = kills.cause().map(|cause| format!(": {cause}")).unwrap_or_default();
            // Not 1001, which the TypeScript SDK takes for success.
            (close_code::ERROR, format!("the interpreter process has ended{cause}"))
        }
    };
    for frame in frames {
        if socket.send_text(json(&frame)).await.is_err() {
            break;
        }
    }
    farewell
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

/// Runs the code and passes its output on. A client that does not read holds up neither the code's end, nor its deadline, nor who
/// deletes the context.
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
    let (mut begun, mut interrupted, mut listening, mut sending) = (false, false, true, false);
    {
        let taking = worker.send(&wanted.code, wanted.envs.as_ref().unwrap_or(&nothing));
        tokio::pin!(taking);
        loop {
            tokio::select! {
                taken = &mut taking => match taken {
                    Ok(()) => break,
                    Err(_) => return (End::Died, Rest::new()),
                },
                // A process that does not take its code can't be asked to stop.
                () = sleep_until(deadline) => return (End::Overdue, Rest::new()),
                () = hung_up(socket), if listening => {
                    (listening, deadline) = (false, deadline.min(Instant::now() + TAKING));
                }
                () = context.deleted() => return (End::Died, Rest::new()),
            }
        }
    }
    if !listening {
        deadline = Instant::now();
    }
    let end = loop {
        tokio::select! {
            piece = place.next(), if !sending => match text(piece, &mut decoders) {
                Some((channel, text)) if listening && !text.is_empty() => {
                    // What fails here shows when it is sent.
                    sending = socket.hand_over(json(&output(channel, text))).await.is_ok();
                }
                Some(_) => {}
                None => break End::Died,
            },
            report = worker.report() => match report {
                Ok(Report::Begun) => {
                    begun = true;
                    if interrupted {
                        worker.interrupt();
                        deadline = Instant::now() + PATIENCE;
                    }
                }
                Ok(Report::Done(_)) if interrupted => break End::Interrupted,
                Ok(Report::Done(error)) => break End::Completed(error),
                Err(Lost) => {
                    worker.kill().await;
                    break End::Died;
                }
            },
            () = sleep_until(deadline) => {
                if interrupted {
                    return (End::Overdue, Rest::new());
                }
                if begun {
                    worker.interrupt();
                }
                (interrupted, deadline) = (true, Instant::now() + if begun { PATIENCE } else { TAKING });
            }
            there = attend(socket, sending), if listening => {
                sending = false;
                if !there {
                    listening = false;
                    deadline = if interrupted { deadline } else { Instant::now() };
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
    rest.retain(|(_, text)| listening && !text.is_empty());
    ledger.forget();
    (end, rest)
}

/// What a piece says, on which channel. None at the end.
fn text(piece: Piece, decoders: &mut Decoders) -> Option<(Channel, String)> {
    match piece {
        Piece::Output(channel, bytes) => Some((channel, decoders.decode(channel, &bytes))),
        Piece::Gap(bytes) => Some((Channel::Stderr, gap_text(bytes))),
        Piece::End => None,
    }
}

/// Waits until the client has taken what it was handed over, or else until it says something. False when it has gone.
async fn attend(socket: &mut WebSocket, sending: bool) -> bool {
    // What it says means nothing.
    if sending { socket.flush().await.is_ok() } else { socket.receive().await.is_some() }
}

/// Waits until the client has gone.
async fn hung_up(socket: &mut WebSocket) {
    while socket.receive().await.is_some() {}
}

fn output(channel: Channel, text: String) -> Frame {
    match channel {
        Channel::Stderr => Frame::Stderr { text },
        Channel::Stdout | Channel::Pty => Frame::Stdout { text },
    }
}

fn json(frame: &Frame) -> String {
    // Strings only: this cannot fail.
    serde_json::to_string(frame).unwrap_or_default()
}
