//! Git, by the sandbox's own `git` program, run as the sandbox user.
//!
//! A library inside the agent would be several times its size in each sandbox, and would have to learn what users
//! configure: `insteadOf`, certificate authorities, proxies, credential helpers, hooks, filters, SSH. The program
//! honours all of them, and does what the same command in the sandbox's shell does. An image without it gets an
//! error that says what to install.
//!
//! Rules of every call ([`command`]): messages in English (`LC_ALL=C`), which errors are recognised by ([`failure`]);
//! no prompt, pager or editor; formats for machines; the repository is at the path itself, never above it; values
//! of callers are not taken for options. A password never stands in an argument, an environment or a repository's
//! configuration, unless the call is for storing it ([`login`]). When the caller hangs up, git is ended. There are
//! no timeouts.

pub mod add;
pub mod branches;
pub mod checkout;
pub mod clone;
pub mod command;
pub mod commit;
pub mod config;
pub mod credentials;
pub mod destination;
pub mod failure;
pub mod history;
pub mod init;
pub mod login;
pub mod names;
pub mod pull;
pub mod push;
pub mod records;
pub mod remotes;
pub mod repository;
pub mod reset;
pub mod restore;
pub mod running;
pub mod status;
pub mod url;
