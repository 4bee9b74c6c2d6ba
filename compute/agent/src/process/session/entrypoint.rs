//! The image's entrypoint: one program that runs from the start, as the only command of its session.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;

use super::command::Command;
use super::{ENTRYPOINT, Session};
use crate::agent::Agent;
use crate::process::engine::{End, Process, Streams};
use crate::process::environment::Variables;
use crate::process::ledger::Channel;
use crate::process::program::{self, Program};

/// Starts the entrypoint, if there is one. A failure shows in its log, where its users look.
pub async fn start(agent: &Agent, words: &[String]) -> Arc<Session> {
    let (queue, commands) = unbounded_channel();
    // Nothing can be queued behind it.
    drop(commands);
    let session = Arc::new(Session::new(ENTRYPOINT, queue));
    session.end("takes no commands: it is the image's entrypoint".to_owned());
    if let Some((name, arguments)) = words.split_first() {
        let command = Arc::new(Command::new(words.join(" ")));
        session.commands.lock().push(Arc::clone(&command));
        if let Err(error) = launch(agent, name, arguments, &command) {
            command.ledger.append(Channel::Stderr, format!("cannot start the entrypoint: {error}\n").as_bytes());
            command.finish(127).await;
        }
    }
    session
}

fn launch(agent: &Agent, name: &str, arguments: &[String], command: &Arc<Command>) -> io::Result<()> {
    let variables = agent.environment.lock().clone();
    let path = locate(agent, name, &variables).ok_or_else(|| io::Error::other(format!("{name} is not in PATH")))?;
    let program =
        Program { path: &path, arguments: arguments.to_vec(), variables: &variables, directory: &agent.work_dir };
    let process = Process::start(agent, &program, Streams::Apart, Vec::new(), Arc::clone(&command.ledger))
        .map_err(io::Error::other)?;
    // Why it ended comes after its last output.
    command.ledger.share();
    let command = Arc::clone(command);
    tokio::spawn(async move {
        let End { exit, note } = process.ended().await;
        command.ledger.append(Channel::Stderr, note.unwrap_or_default().as_bytes());
        command.finish(exit.code()).await;
    });
    Ok(())
}

fn locate(agent: &Agent, name: &str, variables: &Variables) -> Option<PathBuf> {
    if name.contains('/') { Some(agent.work_dir.join(Path::new(name))) } else { program::find(name, variables) }
}
