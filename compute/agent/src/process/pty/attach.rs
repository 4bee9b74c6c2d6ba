//! The conversation of a client with a terminal.
//!
//! The server starts with a text message that says `connected`, then sends the terminal's output as binary messages.
//! What the client sends is typed. At the shell's end the server tells its exit code in a text message, to clients
//! that offered [`EXIT_CONTROL`](crate::http::websocket::EXIT_CONTROL), and always in the close frame.

use std::sync::Arc;

use serde::Serialize;

use super::session::Pty;
use crate::http::websocket::{WebSocket, close_code};
use crate::process::engine;
use crate::process::ledger::{Piece, gap_text};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Control {
    r#type: &'static str,
    status: &'static str,
    #[serde(flatten)]
    end: Option<End>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct End {
    exit_code: i32,
    exit_reason: String,
}

/// The close frame's reason.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Farewell<'a> {
    exit_code: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    exit_reason: &'a str,
}

impl End {
    fn new(end: engine::End) -> Self {
        let exit_code = end.exit.code();
        let reason = match exit_code {
            0 => String::new(),
            130 => "Ctrl+C".to_owned(),
            137 => end.note.map_or_else(|| "SIGKILL".to_owned(), |note| note.trim_end().to_owned()),
            143 => "SIGTERM".to_owned(),
            code if code > 128 => format!("signal {}", code - 128),
            _ => "non-zero exit".to_owned(),
        };
        Self { exit_code, exit_reason: reason }
    }
}

pub async fn converse(mut socket: WebSocket, pty: Arc<Pty>, exit_control: bool) {
    if socket.send_text(control("connected", None)).await.is_err() {
        return;
    }
    let mut place = pty.attach();
    let input = pty.input();
    // One message that the shell has no room for yet: no further one is read meanwhile.
    let mut typed: Option<Vec<u8>> = None;
    loop {
        tokio::select! {
            piece = place.next() => match shown(piece) {
                Some(bytes) => if socket.send_binary(bytes).await.is_err() {
                    return;
                },
                None => break,
            },
            message = socket.receive(), if typed.is_none() => match message {
                Some(message) => typed = Some(message.into_bytes()),
                None => return,
            },
            // Without room to come, the shell has ended; its output tells so.
            permit = reserve(input.as_ref()), if typed.is_some() => {
                if let (Some(permit), Some(bytes)) = (permit, typed.take()) {
                    permit.send(bytes);
                }
            }
        }
    }
    drop(place);
    finish(socket, End::new(pty.ended().await), exit_control).await;
}

/// What a terminal shows. None at the end.
fn shown(piece: Piece) -> Option<Vec<u8>> {
    match piece {
        Piece::Output(_, bytes) => Some(bytes),
        Piece::Gap(bytes) => Some(format!("\r\n{}\r", gap_text(bytes)).into_bytes()),
        Piece::End => None,
    }
}

async fn reserve(input: Option<&tokio::sync::mpsc::Sender<Vec<u8>>>) -> Option<tokio::sync::mpsc::Permit<'_, Vec<u8>>> {
    input?.reserve().await.ok()
}

async fn finish(mut socket: WebSocket, end: End, exit_control: bool) {
    let code = if end.exit_code == 0 { close_code::NORMAL } else { close_code::ERROR };
    let farewell = Farewell { exit_code: end.exit_code, exit_reason: &end.exit_reason };
    // Numbers and short words: this cannot fail.
    let reason = serde_json::to_string(&farewell).unwrap_or_default();
    if exit_control && socket.send_text(control("exited", Some(end))).await.is_err() {
        return;
    }
    socket.close(code, &reason).await;
}

fn control(status: &'static str, end: Option<End>) -> String {
    // As above.
    serde_json::to_string(&Control { r#type: "control", status, end }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::children::Exit;

    #[test]
    fn messages_of_the_end() {
        let end = |exit| End::new(engine::End { exit, note: None });
        let told = control("exited", Some(end(Exit::Code(0))));
        assert_eq!(told, r#"{"type":"control","status":"exited","exitCode":0,"exitReason":""}"#);
        assert_eq!(end(Exit::Signal(9)).exit_reason, "SIGKILL");
        assert_eq!(end(Exit::Signal(11)).exit_reason, "signal 11");
        assert_eq!(end(Exit::Code(3)).exit_reason, "non-zero exit");
        let note = "Killed: the sandbox ran out of memory (1048576 MiB)";
        let starved = engine::End { exit: Exit::Signal(9), note: Some(note.to_owned()) };
        assert_eq!(End::new(starved).exit_reason, note);
        assert_eq!(control("connected", None), r#"{"type":"control","status":"connected"}"#);
    }
}
