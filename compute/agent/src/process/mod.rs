//! Everything that runs programs in the sandbox, as the sandbox user.

pub mod capture;
pub mod children;
pub mod code_run;
pub mod environment;
pub mod execute;
pub mod interpreter;
pub mod job;
pub mod log;
pub mod program;
pub mod pty;
pub mod session;
pub mod shell;
pub mod spawn;
pub mod tree;
