//! Everything that runs programs in the sandbox, as the sandbox user: one [`engine`], and the APIs that show its
//! processes.

pub mod children;
pub mod code_run;
pub mod engine;
pub mod environment;
pub mod execute;
pub mod interpreter;
pub mod job;
pub mod ledger;
pub mod outputs;
pub mod pipe;
pub mod program;
pub mod pty;
pub mod session;
pub mod shell;
pub mod spawn;
pub mod terminal;
pub mod text;
pub mod tree;

use crate::http::error::Failure;

/// Longer ids are of no use to anybody.
const LONGEST_ID: usize = 255;

/// Checks an id that a client makes up. It must be able to stand in a URL's path, as one segment.
pub fn check_id(field: &str, id: &str) -> Result<(), Failure> {
    let reason = match id {
        "" => "is empty",
        "." | ".." => "cannot stand in a URL's path",
        _ if id.len() > LONGEST_ID => "is longer than 255 bytes",
        _ if id.contains(|letter: char| matches!(letter, '/' | '\\') || letter.is_control()) => {
            "has a slash, a backslash or a control character"
        }
        _ => return Ok(()),
    };
    Err(Failure::bad_request(format!("{field} {id:?} {reason}: use another one")))
}
