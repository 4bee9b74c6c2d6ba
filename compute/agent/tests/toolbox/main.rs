//! The toolbox API, driven over the agent's socket. The agent runs as a child of the test, not as pid 1.

mod agent;
mod checkpoint;
mod code_run;
mod execute;
mod files;
mod git;
mod interpreter;
mod lifecycle;
mod lsp;
mod pty;
mod sessions;
mod system;
mod transfer;
mod watch;
