//! The image's entrypoint: one program that runs from the start, as the only command of its session.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;

use super::command::{Command, Outputs};
use super::{ENTRYPOINT, Session};
use crate::agent::Agent;
use crate::process::environment::Variables;
use crate::process::job::Job;
use crate::process::log::Stream;
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
            command.log.append(Stream::Stderr, format!("cannot start the entrypoint: {error}\n").as_bytes());
            command.finish(127).await;
        }
    }
    session
}

fn launch(agent: &Agent, name: &str, arguments: &[String], command: &Arc<Command>) -> io::Result<()> {
    let variables = agent.environment.lock().clone();
    let path = locate(agent, name, &variables).ok_or_else(|| io::Error::other(format!("{name} is not in PATH")))?;
    let (stdout, stdout_writer) = io::pipe()?;
    let (stderr, stderr_writer) = io::pipe()?;
    let nothing = io::stdin();
    let descriptors = [nothing.as_fd(), stdout_writer.as_fd(), stderr_writer.as_fd()];
    let program = Program {
        path: &path,
        arguments: arguments.to_vec(),
        variables: &variables,
        directory: &agent.work_dir,
        descriptors: &descriptors,
        terminal: false,
    };
    let mut outputs = Outputs::new(stdout.into(), stderr.into())?;
    let mut job = Job::start(&program, &agent.children, &agent.identity).map_err(io::Error::other)?;
    let command = Arc::clone(command);
    tokio::spawn(async move {
        let exit = tokio::select! {
            exit = job.wait() => exit,
            () = outputs.read_to_end(&command.log) => job.wait().await,
        };
        outputs.drain(&command.log);
        command.finish(exit.code()).await;
        outputs.read_to_end(&command.log).await;
    });
    Ok(())
}

fn locate(agent: &Agent, name: &str, variables: &Variables) -> Option<PathBuf> {
    if name.contains('/') { Some(agent.work_dir.join(Path::new(name))) } else { program::find(name, variables) }
}
