//! How the interpreter of each language gets a program text.
//!
//! The text never becomes a file that could stay behind or be imported. Modules are found from the work directory.
//! Standard input is empty, or holds the text and is at its end when the text runs.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::http::error::Failure;
use crate::process::environment::Variables;
use crate::process::program;
use crate::process::shell::{LONGEST_ARGUMENT, memory_file};

/// Reads and runs `python.py`, which then runs the code of descriptor 4.
const PYTHON_START: &str = "exec(compile(open(3).read(), '<sebring>', 'exec'))";
const PYTHON: &str = include_str!("python.py");
/// Code that mentions none of these draws nothing, and starts without `python.py`.
const PLOTTING: [&str; 3] = ["matplotlib", "seaborn", ".plot"];
/// Runs the code of its standard input.
const JAVASCRIPT: &str = include_str!("javascript.js");
/// The option of Node.js that `javascript.js` needs.
const MODULES: &str = "--experimental-vm-modules";
const TS_NODE_OPTIONS: &str = r#"{"module":"commonjs","moduleResolution":"node"}"#;

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
        Self { path, arguments, files: Vec::new(), input: None, draws: false }
    }
}

fn find(names: &[&str], variables: &Variables, advice: &str) -> Result<PathBuf, Failure> {
    names
        .iter()
        .find_map(|name| program::find(name, variables))
        .ok_or_else(|| Failure::bad_request(format!("the sandbox has no {} in its PATH: {advice}", names.join(" or "))))
}

fn find_node(variables: &Variables) -> Result<PathBuf, Failure> {
    find(&["node", "nodejs"], variables, "install Node.js, or use another snapshot")
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

/// Code without those words is as `node` reads it from its standard input.
fn javascript(code: &str, variables: &Variables) -> Result<Interpreter, Failure> {
    let path = find_node(variables)?;
    let input = Some(memory_file(code.as_bytes())?.into());
    let interpreter = if has_word(code, &["await", "import", "export"]) {
        Interpreter::new(path, &[MODULES, "-e", JAVASCRIPT, "--", "-", ""])
    } else {
        Interpreter::new(path, &["-"])
    };
    Ok(Interpreter { input, ..interpreter })
}

/// By tsx, else ts-node. Both take the first argument after the code for a script's name.
fn typescript(code: &str, variables: &Variables) -> Result<Interpreter, Failure> {
    let tsx = program::find("tsx", variables);
    let options: &[&str] = if tsx.is_some() { &[] } else { &["-T", "-O", TS_NODE_OPTIONS] };
    let is_tsx = tsx.is_some();
    let path = tsx
        .or_else(|| program::find("ts-node", variables))
        .ok_or_else(|| Failure::bad_request("the sandbox has no tsx or ts-node in its PATH: run npm install -g tsx"))?;
    if code.len() < LONGEST_ARGUMENT && !code.contains('\0') && !has_word(code, &["await"]) {
        return Ok(Interpreter::new(path, &[options, &["-e", code, "[eval]"]].concat()));
    }
    let input = Some(memory_file(code.as_bytes())?.into());
    let tool = path.to_string_lossy().into_owned();
    let run = ["-e", JAVASCRIPT, "[eval]", &tool];
    let interpreter = if is_tsx {
        Interpreter::new(path, &[&[MODULES], options, &run].concat())
    } else {
        // ts-node hands no option of Node.js on.
        Interpreter::new(find_node(variables)?, &[&[MODULES, &tool], options, &run].concat())
    };
    Ok(Interpreter { input, ..interpreter })
}

/// Whether one of the words stands in the text, be it in a comment.
fn has_word(text: &str, words: &[&str]) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '$')
        .any(|word| words.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        for code in ["await go()", "if(x){await(y)}", "x=>await y", "\tawait\n"] {
            assert!(has_word(code, &["await"]), "{code}");
        }
        for code in ["const awaited = 1", "$await()", "await_", ""] {
            assert!(!has_word(code, &["await"]), "{code}");
        }
    }
}
