//! `…/logs?follow=true`: a command's output as a WebSocket stream, from its beginning to its end.
//!
//! Each binary message is three equal bytes, 1 for standard output and 2 for standard error, then output of that
//! kind.

use std::sync::Arc;

use super::command::Command;
use crate::http::websocket::{WebSocket, close_code};
use crate::process::log::{Piece, Stream, framed, gap_text};

pub async fn follow(mut socket: WebSocket, command: Arc<Command>) {
    let mut changes = command.log.changes();
    // While this follows, the command waits for it rather than losing output.
    let mut place = command.log.place(0);
    loop {
        let sent = match command.log.read(&mut place.position) {
            Piece::Output(stream, bytes) => socket.send_binary(framed(stream, &bytes)).await,
            Piece::Gap(bytes) => socket.send_binary(framed(Stream::Stdout, gap_text(bytes).as_bytes())).await,
            Piece::End => return socket.close(close_code::NORMAL, "").await,
            Piece::Wait => tokio::select! {
                // The log lives as long as the command.
                _ = changes.changed() => Ok(()),
                message = socket.receive() => match message {
                    Some(_) => Ok(()),
                    None => return,
                },
            },
        };
        if sent.is_err() {
            return;
        }
        place.advance();
    }
}
