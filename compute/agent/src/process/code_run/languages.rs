//! How the interpreter of each language gets a program text.
//!
//! The text never becomes a file that could stay behind or be imported; only TypeScript beyond the size of an
//! argument is one, for no runner of it reads anything else. Modules are found from the work directory. Standard
//! input is empty.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::error::Failure;
use crate::process::environment::Variables;
use crate::process::program;
use crate::process::shell::{LONGEST_ARGUMENT, memory_file};

/// Reads and runs `python.py`, which then runs the code of descriptor 4.
const PYTHON_START: &str = "exec(compile(open(3).read(), '<sebring>', 'exec'))";
const PYTHON: &str = include_str!("python.py");
/// Code that mentions none of these draws nothing, and starts without `python.py`.
const PLOTTING: [&str; 3] = ["matplotlib", "seaborn", ".plot"];
/// Runs the script on descriptor 3 as if it were read from standard input.
const JAVASCRIPT: &str = "-";

/// What to start.
#[derive(Debug)]
pub struct Interpreter {
    pub path: PathBuf,
    /// Those of the program text follow.
    pub arguments: Vec<String>,
    /// Descriptors from 3 on.
    pub files: Vec<OwnedFd>,
    /// The text is its standard input.
    pub input: Option<OwnedFd>,
    /// It writes charts to one more descriptor.
    pub draws: bool,
    /// Kept until it has ended.
    _script: Option<Script>,
}

pub fn prepare(language: &str, code: &str, variables: &Variables) -> Result<Interpreter, Failure> {
    match language {
        "python" => python(code, variables),
        "javascript" => javascript(code, variables),
        "typescript" => typescript(code, variables),
        _ => {
            Err(Failure::bad_request(format!("language {language:?} is unknown: use python, typescript or javascript")))
        }
    }
}

impl Interpreter {
    fn new(path: PathBuf, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { path, arguments, files: Vec::new(), input: None, draws: false, _script: None }
    }
}

fn find(names: &[&str], variables: &Variables, advice: &str) -> Result<PathBuf, Failure> {
    names
        .iter()
        .find_map(|name| program::find(name, variables))
        .ok_or_else(|| Failure::bad_request(format!("the sandbox has no {} in its PATH: {advice}", names.join(" or "))))
}

/// Short plain code is an argument, as in `python3 -c`; other code runs below `python.py`.
fn python(code: &str, variables: &Variables) -> Result<Interpreter, Failure> {
    let path = find(&["python3", "python"], variables, "install python3, or use another snapshot")?;
    let plots = PLOTTING.iter().any(|word| code.contains(word));
    if !plots && code.len() < LONGEST_ARGUMENT && !code.contains('\0') {
        return Ok(Interpreter::new(path, &["-u", "-c", code]));
    }
    let files = vec![memory_file(PYTHON.as_bytes())?.into(), memory_file(code.as_bytes())?.into()];
    Ok(Interpreter { files, draws: true, ..Interpreter::new(path, &["-u", "-c", PYTHON_START]) })
}

fn javascript(code: &str, variables: &Variables) -> Result<Interpreter, Failure> {
    let path = find(&["node", "nodejs"], variables, "install Node.js, or use another snapshot")?;
    let input = Some(memory_file(code.as_bytes())?.into());
    Ok(Interpreter { input, ..Interpreter::new(path, &[JAVASCRIPT]) })
}

/// By tsx, else ts-node. Both take the first argument after the code for a script's name.
fn typescript(code: &str, variables: &Variables) -> Result<Interpreter, Failure> {
    let tsx = program::find("tsx", variables);
    let is_tsx = tsx.is_some();
    let path = match tsx {
        Some(path) => path,
        None => find(&["ts-node"], variables, "run npm install -g tsx").map_err(|_| {
            Failure::bad_request("the sandbox has no tsx or ts-node in its PATH: run npm install -g tsx")
        })?,
    };
    let options: &[&str] = match (is_tsx, awaits_at_top(code)) {
        (true, true) => &["--input-type=module"],
        (true, false) => &[],
        (false, _) => &["-T", "-O", r#"{"module":"commonjs","moduleResolution":"node"}"#],
    };
    let mut interpreter = Interpreter::new(path, options);
    if code.len() < LONGEST_ARGUMENT && !code.contains('\0') {
        interpreter.arguments.extend(["-e", code, "[eval]"].map(str::to_owned));
    } else {
        let script = Script::write(code)?;
        interpreter.arguments = vec![script.path.to_string_lossy().into_owned()];
        interpreter._script = Some(script);
    }
    Ok(interpreter)
}

/// Only modules may wait outside of functions. Code in functions is indented.
fn awaits_at_top(code: &str) -> bool {
    let waits = |line: &str| {
        !line.starts_with([' ', '\t', '/', '*'])
            && !line.contains("async")
            && !line.contains("=>")
            && line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "await")
    };
    !code.contains("require(") && code.lines().any(waits)
}

/// A script in a file, which goes with this value.
#[derive(Debug)]
struct Script {
    path: PathBuf,
}

impl Script {
    fn write(code: &str) -> Result<Self, Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/.code-{}-{number}.ts", std::process::id()));
        let mut file: File = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Failure::file(&path, &error))?;
        let script = Self { path };
        file.write_all(code.as_bytes()).map_err(|error| Failure::file(&script.path, &error))?;
        Ok(script)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // The code itself may have removed it.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_modules_wait_at_the_top() {
        for module in ["await go()", "const x: number = await go();", "for await (const x of y) {}"] {
            assert!(awaits_at_top(module), "{module}");
        }
        for script in [
            "async function f() { await g() }",
            "async function f() {\n  await g()\n}",
            "const awaited = 1",
            "// await",
            "const fs = require('fs');\nawait x",
        ] {
            assert!(!awaits_at_top(script), "{script}");
        }
    }
}
