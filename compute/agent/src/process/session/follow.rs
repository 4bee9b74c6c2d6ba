//! `…/logs?follow=true`: a command's output as a WebSocket stream, from its beginning to its end.
//!
//! Each binary message is three equal bytes, 1 for standard output and 2 for standard error, then output of that
//! kind.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::command::Command;
use crate::http::body::Body;
use crate::http::response::{self, Response};
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

/// The same without a WebSocket and without marks, for clients that know neither.
pub fn as_text(command: Arc<Command>) -> Response {
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut changes = command.log.changes();
        let mut place = command.log.place(0);
        loop {
            let text = match command.log.read(&mut place.position) {
                Piece::Output(_, bytes) => bytes,
                Piece::Gap(bytes) => gap_text(bytes).into_bytes(),
                Piece::End => return,
                Piece::Wait => tokio::select! {
                    _ = changes.changed() => continue,
                    () = sender.closed() => return,
                },
            };
            if sender.send(Ok(text.into())).await.is_err() {
                return;
            }
            place.advance();
        }
    });
    response::plain(Body::Stream(pieces))
}
