//! One call of the `git` program: its arguments, environment and descriptors.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::login::{self, Login};
use super::running::{Outcome, Running};
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::process::environment::Variables;
use crate::process::job::Job;
use crate::process::program::{self, Program};
use crate::process::shell::memory_file;
use crate::process::spawn::SpawnError;

/// Variables that would lead git to another repository than the one at the path (`git rev-parse --local-env-vars`).
const ELSEWHERE: [&str; 11] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];
/// Traces go to standard error, between the messages, and may show passwords.
const TRACES: [&str; 2] = ["GIT_TRACE", "GIT_CURL_VERBOSE"];
/// Where git looks for translations of its messages, which are told apart by their text.
const TRANSLATIONS: (&str, &str) = ("GIT_TEXTDOMAINDIR", "/nonexistent");
/// Maintenance in the background would keep the password's descriptor; the next call without one makes up for it.
const NO_MAINTENANCE: [&str; 2] = ["maintenance.auto=false", "gc.auto=0"];

/// A call that is being put together.
///
/// Hooks, filters, helpers and editors that git runs see the environment that a user's own call would give them. So there is
/// no variable of ours in it but what the request asks for: git reads no terminal, since it has none, and other wishes
/// are arguments.
pub struct Git<'a> {
    agent: &'a Agent,
    directory: &'a Path,
    settings: Vec<String>,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    input: Option<File>,
    secret: Option<File>,
    /// Never shown, whatever git writes.
    secrets: Vec<String>,
}

impl<'a> Git<'a> {
    /// A call in a directory, which is absolute and without symbolic links.
    pub fn new(agent: &'a Agent, directory: &'a Path, arguments: &[&str]) -> Self {
        Self {
            agent,
            directory,
            settings: Vec::new(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            variables: Vec::new(),
            input: None,
            secret: None,
            secrets: Vec::new(),
        }
    }

    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub fn argument_if(self, condition: bool, argument: &str) -> Self {
        if condition { self.argument(argument) } else { self }
    }

    pub fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// What git reads from standard input.
    pub fn input(mut self, content: &[u8]) -> io::Result<Self> {
        self.input = Some(memory_file(content)?);
        Ok(self)
    }

    /// Content of the file [`login::SECRET`].
    pub fn secret(mut self, content: &[u8]) -> io::Result<Self> {
        self.secret = Some(memory_file(content)?);
        Ok(self)
    }

    /// Has git log in with this, at the server of this URL and at no other. Servers that are not reached by HTTP
    /// know no such login; it is not used then.
    pub fn login(mut self, login: Option<&Login>, url: &str) -> io::Result<Self> {
        let Some(login) = login else { return Ok(self) };
        self.secrets.extend(login.password().map(str::to_owned));
        let Some(origin) = super::url::origin(url) else { return Ok(self) };
        self.settings.extend(login::settings(&origin));
        self.settings.extend(NO_MAINTENANCE.map(str::to_owned));
        self.secret(login.answer().as_bytes())
    }

    pub fn start(self) -> Result<Running, Failure> {
        let variables = self.all_variables()?;
        let path = program::find("git", &variables).ok_or_else(|| {
            Failure::bad_request(
                "the sandbox has no git in its PATH: install it (apt-get install git, apk add git or dnf install git), \
                 or use a snapshot that has it",
            )
        })?;
        let operation = self.arguments.first().cloned().unwrap_or_default();
        let settings = self.settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        // The agent's own standard input is /dev/null.
        let nothing = io::stdin();
        let input = self.input.as_ref().map_or(nothing.as_fd(), AsFd::as_fd);
        let mut descriptors = vec![input, stdout_writer.as_fd(), stderr_writer.as_fd()];
        descriptors.extend(self.secret.as_ref().map(AsFd::as_fd));
        let program = Program {
            path: &path,
            arguments: settings.chain(self.arguments).collect(),
            variables: &variables,
            directory: self.directory,
        };
        let job = Job::start(self.agent, &program, &descriptors, false).map_err(|error| match error {
            SpawnError::Directory { source, .. } => Failure::file(self.directory, &source),
            error => error.into(),
        })?;
        Ok(Running::new(operation, job, stdout.into(), stderr.into(), self.secrets)?)
    }

    /// Runs git to its end, whatever that is.
    pub async fn run(self) -> Result<Outcome, Failure> {
        self.start()?.outcome().await
    }

    /// Runs git to its end, and takes any exit code but 0 for a failure.
    pub async fn output(self) -> Result<Vec<u8>, Failure> {
        self.run().await?.success()
    }

    fn all_variables(&self) -> Result<Variables, Failure> {
        let mut variables = self.agent.variables(None)?;
        variables.retain(|name, _| {
            !ELSEWHERE.contains(&name.as_str()) && !TRACES.iter().any(|trace| name.starts_with(trace))
        });
        if !speaks_english(&variables) {
            let (name, value) = TRANSLATIONS;
            variables.insert(name.to_owned(), value.to_owned());
        }
        variables.extend(self.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Ok(variables)
    }
}

/// Whether programs with these variables write English messages (gettext(3)).
fn speaks_english(variables: &Variables) -> bool {
    let set = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let english = |language: &str| {
        language == "POSIX" || language == "C" || language.starts_with("C.") || language.starts_with("en")
    };
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
    // With no locale the list of languages is not looked at.
    locale.is_none_or(|locale| english(locale) && (!locale.starts_with("en") || set("LANGUAGE").is_none_or(english)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages() {
        let speaks = |pairs: &[(&str, &str)]| {
            speaks_english(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert!(
            speaks(&[]) && speaks(&[("LANG", "en_GB.UTF-8")]) && speaks(&[("LANG", "C.UTF-8"), ("LANGUAGE", "de")])
        );
        assert!(speaks(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(!speaks(&[("LANG", "de_DE.UTF-8")]) && !speaks(&[("LANG", "en_US"), ("LANGUAGE", "ja:en")]));
    }
}
