//! From a key to its echo on the screen, typed into the shell of a terminal.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Message;

use crate::connection::Target;
use crate::figures::Figures;
use crate::sandbox;
use crate::websocket::WebSocket;

/// Fast typing, with everything asleep between two keys.
const APART: Duration = Duration::from_millis(20);
const WARM_UP: usize = 10;
/// As wide as terminals get.
const COLUMNS: usize = 1000;

pub async fn keystrokes(target: &Target, turns: usize) -> Result<Value> {
    let mut connection = target.connect().await?;
    let (id, _) = sandbox::make(&mut connection).await?;
    let path = format!("/process/pty/create-connect?id=bench&cols={COLUMNS}&rows=24");
    let mut terminal = WebSocket::open(target, &id, &path).await?;
    let at_once = echoes(&mut terminal, turns, Duration::from_micros(1)).await?;
    let spread = echoes(&mut terminal, turns, APART).await?;
    sandbox::remove(&mut connection, &id).await?;
    Ok(json!({ "at_once": at_once.summary(), "every_20_ms": spread.summary() }))
}

/// All on one line: the shell would do more than echo at its end.
async fn echoes(terminal: &mut WebSocket, turns: usize, apart: Duration) -> Result<Figures> {
    // Control-U drops what was typed before. The quotes keep the echo of this line from looking like the prompt.
    terminal.send(Message::binary("\x15PS1='rea''dy> '\n")).await?;
    terminal.until("ready> ").await?;
    let mut ticks = interval(apart);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut figures = Figures::default();
    let letters = (b'a'..=b'z').cycle();
    for (turn, letter) in letters.take(WARM_UP + turns.min(COLUMNS - 2 * WARM_UP)).enumerate() {
        ticks.tick().await;
        let began = Instant::now();
        terminal.send(Message::binary(vec![letter])).await?;
        let shown = terminal.receive().await?;
        if turn >= WARM_UP {
            figures.add(began.elapsed());
        }
        ensure!(shown.as_deref() == Some(&[letter]), "the echo of {letter} was {shown:?}");
    }
    Ok(figures)
}
