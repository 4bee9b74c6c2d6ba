//! The languages, and the programs that know them.

use std::path::Path;

use crate::http::error::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    Python,
    TypeScript,
    JavaScript,
}

impl Language {
    pub fn parse(id: &str) -> Result<Self, Failure> {
        match id {
            "python" => Ok(Self::Python),
            "typescript" => Ok(Self::TypeScript),
            "javascript" => Ok(Self::JavaScript),
            _ => Err(Failure::bad_request(format!(
                "there is no language server for {id:?}: languageId is python, typescript or javascript"
            ))),
        }
    }

    pub fn id(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::TypeScript => "typescript",
            Self::JavaScript => "javascript",
        }
    }

    /// The server's program, with its arguments.
    pub fn program(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Python => ("pylsp", &[]),
            Self::TypeScript | Self::JavaScript => ("typescript-language-server", &["--stdio"]),
        }
    }

    /// How to get the program.
    pub fn installation(self) -> &'static str {
        match self {
            Self::Python => "pip install python-lsp-server, or apt-get install python3-pylsp",
            Self::TypeScript | Self::JavaScript => "npm install -g typescript-language-server typescript",
        }
    }

    /// Whether a file is one of this language, by its name.
    pub fn owns(self, path: &Path) -> bool {
        let extensions: &[&str] = match self {
            Self::Python => &["py", "pyi"],
            // One server for both, and projects that mix them.
            Self::TypeScript | Self::JavaScript => &["ts", "mts", "cts", "tsx", "js", "mjs", "cjs", "jsx"],
        };
        path.extension().and_then(|extension| extension.to_str()).is_some_and(|own| extensions.contains(&own))
    }

    /// The language of a file, as servers want to be told (LSP 3.17, `TextDocumentItem`).
    pub fn of_file(self, path: &Path) -> &'static str {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match (self, extension.unwrap_or_default()) {
            (Self::Python, _) => "python",
            (_, "ts" | "mts" | "cts") => "typescript",
            (_, "tsx") => "typescriptreact",
            (_, "js" | "mjs" | "cjs") => "javascript",
            (_, "jsx") => "javascriptreact",
            _ => self.id(),
        }
    }
}
