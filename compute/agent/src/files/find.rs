//! `GET /files/find`: lines of files that contain a text.
//!
//! Only regular files are read, and of these only texts: one with a zero byte in its first block is binary. Files
//! that the sandbox user may not read are passed over.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use serde::Serialize;

use super::walk::Walk;
use crate::agent::Agent;
use crate::http::error::Failure;
use crate::http::request::{Request, blocking};
use crate::http::response::{self, Response};

const BLOCK: usize = 256 * 1024;
/// Lines longer than this are searched in pieces.
const LONGEST_LINE: usize = 4 * 1024 * 1024;
/// Of all found lines together: the answer must fit into memory.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;

#[derive(Debug, Serialize, PartialEq, Eq)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Match {
    file: String,
    /// From 1.
    line: u64,
    content: String,
}

/// The root may be a file.
pub async fn find(agent: &Agent, request: &Request) -> Result<Response, Failure> {
    let root = agent.resolve(request.query.required("path")?);
    let pattern = request.query.required("pattern")?.to_owned();
    let matches = blocking(move || {
        let metadata = fs::metadata(&root).map_err(|error| Failure::file(&root, &error))?;
        let mut search = Search::new(&pattern);
        if metadata.is_file() {
            search.file(&root).map_err(|error| Failure::file(&root, &error))?;
        } else {
            let walk = Walk::new(&root, usize::MAX).map_err(|error| Failure::file(&root, &error))?;
            for entry in walk.filter(|entry| entry.kind.is_file()) {
                // Unreadable, or gone since it was listed.
                let _ = search.file(&entry.path);
                search.check_size()?;
            }
        }
        search.check_size()?;
        Ok(search.matches)
    });
    response::json(&matches.await?)
}

struct Search<'a> {
    finder: Finder<'a>,
    /// Used for all files.
    block: Vec<u8>,
    matches: Vec<Match>,
    size: usize,
}

impl<'a> Search<'a> {
    fn new(pattern: &'a str) -> Self {
        Self { finder: Finder::new(pattern), block: Vec::new(), matches: Vec::new(), size: 0 }
    }

    fn check_size(&self) -> Result<(), Failure> {
        if self.size <= LARGEST_ANSWER {
            return Ok(());
        }
        Err(Failure::bad_request(format!(
            "more than {LARGEST_ANSWER} bytes of lines match: search a smaller directory or for a longer text"
        )))
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        self.read(File::open(path)?, path.to_owned())
    }

    fn read(&mut self, mut file: impl Read, path: PathBuf) -> io::Result<()> {
        let mut block = std::mem::take(&mut self.block);
        block.resize(block.len().max(BLOCK), 0);
        let (mut line, mut filled, mut first) = (1, 0, true);
        loop {
            let read = file.read(&mut block[filled..])?;
            let fresh = &block[filled..filled + read];
            if first && memchr::memchr(0, fresh).is_some() {
                break;
            }
            first = false;
            let newline = memchr::memrchr(b'\n', fresh).map(|newline| filled + newline + 1);
            filled += read;
            let end = match newline {
                _ if read == 0 => filled,
                Some(end) => end,
                None if filled < block.len() => continue,
                None if filled < LONGEST_LINE => {
                    block.resize(filled * 2, 0);
                    continue;
                }
                None => filled,
            };
            self.lines(&block[..end], &path, line);
            if read == 0 || self.size > LARGEST_ANSWER {
                break;
            }
            line += memchr::memchr_iter(b'\n', &block[..end]).count() as u64;
            block.copy_within(end..filled, 0);
            filled -= end;
        }
        self.block = block;
        Ok(())
    }

    /// One match for each line of the text that contains the pattern.
    fn lines(&mut self, text: &[u8], path: &Path, first_line: u64) {
        let (mut counted, mut line, mut from) = (0, first_line, 0);
        while let Some(at) = text.get(from..).and_then(|rest| self.finder.find(rest)) {
            let at = from + at;
            let start = memchr::memrchr(b'\n', &text[..at]).map_or(0, |newline| newline + 1);
            let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |newline| at + newline);
            line += memchr::memchr_iter(b'\n', &text[counted..start]).count() as u64;
            counted = start;
            let content = String::from_utf8_lossy(&text[start..end]).trim_end_matches('\r').to_owned();
            let file = path.to_string_lossy().into_owned();
            self.size += content.len() + file.len();
            if self.size > LARGEST_ANSWER {
                return;
            }
            self.matches.push(Match { file, line, content });
            from = end + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8], pattern: &str) -> Vec<(u64, String)> {
        let mut search = Search::new(pattern);
        search.read(text, PathBuf::from("f")).expect("memory is readable");
        search.matches.into_iter().map(|found| (found.line, found.content)).collect()
    }

    #[test]
    fn lines_are_counted_once_each() {
        let text = b"needle needle\r\nhay\n\nmore needle\nneedle";
        assert_eq!(
            found(text, "needle"),
            [(1, "needle needle".into()), (4, "more needle".into()), (5, "needle".into())]
        );
        assert_eq!(found(b"", "x"), []);
        assert_eq!(found(b"\0needle", "needle"), []);
    }

    #[test]
    fn lines_go_on_over_blocks() {
        let mut text = "x".repeat(79).into_bytes();
        text.push(b'\n');
        let mut text = text.repeat(2 * BLOCK / 80);
        text.extend_from_slice(b"the needle\n");
        assert_eq!(found(&text, "needle"), [((2 * BLOCK / 80) as u64 + 1, "the needle".into())]);
        let mut long = vec![b'y'; BLOCK - 3];
        long.extend_from_slice(b"needle and the rest\nneedle");
        assert_eq!(found(&long, "needle").iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2]);
    }
}
