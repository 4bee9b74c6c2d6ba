//! `…/logs?follow=true`: a command's output as a WebSocket stream of frames, from its beginning to its end.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::command::Command;
use crate::http::body::Body;
use crate::http::response::{self, Response};
use crate::http::websocket::{WebSocket, close_code};
use crate::process::ledger::{Piece, framed, gap_text};

pub async fn follow(mut socket: WebSocket, command: Arc<Command>) {
    // While this follows, the command waits for it rather than losing output.
    let mut place = command.ledger.place(0);
    loop {
        let piece = tokio::select! {
            piece = place.next() => piece,
            message = socket.receive() => match message {
                Some(_) => continue,
                None => return,
            },
        };
        match framed(piece) {
            Some(frame) => {
                if socket.send_binary(frame).await.is_err() {
                    return;
                }
            }
            None => return socket.close(close_code::NORMAL, "").await,
        }
    }
}

/// The same without a WebSocket and without marks, for clients that know neither.
pub fn as_text(command: Arc<Command>) -> Response {
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut place = command.ledger.place(0);
        loop {
            let piece = tokio::select! {
                piece = place.next() => piece,
                () = sender.closed() => return,
            };
            let text = match piece {
                Piece::Output(_, bytes) => bytes,
                Piece::Gap(bytes) => gap_text(bytes).into_bytes(),
                Piece::End => return,
            };
            if sender.send(Ok(text.into())).await.is_err() {
                return;
            }
        }
    });
    response::plain(Body::Stream(pieces))
}
