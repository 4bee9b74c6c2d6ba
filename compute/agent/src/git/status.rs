//! `GET /git/status`.
//!
//! Read from `git status --porcelain=v2 --branch -z` (git-status(1), "Porcelain Format Version 2").

use serde::Serialize;

use super::records::Records;
use super::repository::Repository;
use crate::agent::Agent;
use crate::http::error::Failure;

/// The name of what is checked out when no branch is.
const DETACHED: &str = "HEAD";

#[derive(Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = GitStatus))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Also a branch without a commit; `HEAD` when detached.
    current_branch: String,
    detached: bool,
    /// Such as `origin/main`; empty without.
    upstream: String,
    /// Commits that the upstream does not have, and those that only it has.
    ahead: u64,
    behind: u64,
    /// Whether a remote is known to have a branch of this name.
    branch_published: bool,
    pub file_status: Vec<FileStatus>,
}

#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct FileStatus {
    /// Relative to the repository.
    name: String,
    staging: Change,
    worktree: Change,
    /// The former name of a renamed or copied file.
    extra: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Status))]
pub enum Change {
    Unmodified,
    Untracked,
    Modified,
    Added,
    Deleted,
    Renamed,
    Copied,
    #[serde(rename = "Updated but unmerged")]
    Unmerged,
}

pub async fn status(agent: &Agent, path: &str) -> Result<Status, Failure> {
    let repository = Repository::open(agent, path).await?;
    let git = repository.git(&["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all"]);
    // Reading does not lock: git in the sandbox's shells goes on undisturbed.
    let mut git = git.variable("GIT_OPTIONAL_LOCKS", "0").start()?;
    let (mut records, mut parser) = (Records::default(), Parser::default());
    while let Some(piece) = git.next().await? {
        records.push(&piece, |record| parser.take(record));
    }
    git.end(Vec::new()).await.success()?;
    let mut status = parser.status;
    if !status.detached {
        let remote_branches = format!("refs/remotes/*/{}", status.current_branch);
        let known = repository.git(&["for-each-ref", "--count=1", "--format=x", &remote_branches]).output().await?;
        status.branch_published = !known.is_empty();
    }
    Ok(status)
}

#[derive(Debug, Default)]
pub struct Parser {
    pub status: Status,
    /// The record of a rename is followed by one with the former name.
    renamed: bool,
}

impl Parser {
    /// Records of kinds that later versions of git may add are passed over.
    pub fn take(&mut self, record: &[u8]) {
        let record = String::from_utf8_lossy(record);
        if std::mem::take(&mut self.renamed) {
            if let Some(file) = self.status.file_status.last_mut() {
                file.extra = record.into_owned();
            }
            return;
        }
        self.known(&record);
    }

    fn known(&mut self, record: &str) -> Option<()> {
        let (kind, rest) = record.split_once(' ')?;
        match kind {
            "#" => self.header(rest),
            // Before the name: XY, submodule, three modes, two hashes; also a score; four modes and three hashes.
            "1" => self.file(rest, 7, Change::of),
            "2" => {
                self.file(rest, 8, Change::of)?;
                self.renamed = true;
                Some(())
            }
            "u" => self.file(rest, 9, |_| Change::Unmerged),
            "?" => self.push(rest, Change::Untracked, Change::Untracked),
            _ => None,
        }
    }

    fn header(&mut self, header: &str) -> Option<()> {
        let (name, value) = header.split_once(' ')?;
        match name {
            "branch.head" if value == "(detached)" => {
                self.status.detached = true;
                self.status.current_branch = DETACHED.to_owned();
            }
            "branch.head" => self.status.current_branch = value.to_owned(),
            "branch.upstream" => self.status.upstream = value.to_owned(),
            "branch.ab" => {
                let (ahead, behind) = value.split_once(' ')?;
                self.status.ahead = ahead.strip_prefix('+')?.parse().ok()?;
                self.status.behind = behind.strip_prefix('-')?.parse().ok()?;
            }
            _ => {}
        }
        Some(())
    }

    /// A record with so many fields before the name, `XY` the first of them.
    fn file(&mut self, record: &str, fields: usize, change: fn(u8) -> Change) -> Option<()> {
        let mut parts = record.splitn(fields + 1, ' ');
        let &[staging, worktree] = parts.next()?.as_bytes() else { return None };
        let name = parts.nth(fields - 1)?;
        self.push(name, change(staging), change(worktree))
    }

    fn push(&mut self, name: &str, staging: Change, worktree: Change) -> Option<()> {
        let file = FileStatus { name: name.to_owned(), staging, worktree, extra: String::new() };
        self.status.file_status.push(file);
        Some(())
    }
}

impl Change {
    fn of(letter: u8) -> Self {
        match letter {
            // T is another type of file.
            b'M' | b'T' => Self::Modified,
            b'A' => Self::Added,
            b'D' => Self::Deleted,
            b'R' => Self::Renamed,
            b'C' => Self::Copied,
            b'U' => Self::Unmerged,
            b'?' => Self::Untracked,
            _ => Self::Unmodified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "7898192261678bca6e1c3e0f1d0e2c1c7a5b3d2f";

    fn parse(output: &str) -> Status {
        let (mut records, mut parser) = (Records::default(), Parser::default());
        records.push(output.as_bytes(), |record| parser.take(record));
        parser.status
    }

    fn file(name: &str, staging: Change, worktree: Change, extra: &str) -> FileStatus {
        FileStatus { name: name.into(), staging, worktree, extra: extra.into() }
    }

    #[test]
    fn every_kind_of_record() {
        let output = format!(
            "# branch.oid {HASH}\0# branch.head main\0# branch.upstream origin/main\0# branch.ab +2 -1\0# stash 1\0\
             1 .M N... 100644 100644 100644 {HASH} {HASH} a b\n\0\
             1 AT N... 000000 100644 120000 {HASH} {HASH} -x\0\
             2 R. N... 100644 100644 100644 {HASH} {HASH} R100 new name\0old name\0\
             u UD N... 100644 100644 000000 100644 {HASH} {HASH} {HASH} both\0\
             ? ü\0! ignored\0"
        );
        let status = parse(&output);
        assert_eq!((status.current_branch.as_str(), status.upstream.as_str()), ("main", "origin/main"));
        assert_eq!((status.ahead, status.behind, status.detached), (2, 1, false));
        let expected = [
            file("a b\n", Change::Unmodified, Change::Modified, ""),
            file("-x", Change::Added, Change::Modified, ""),
            file("new name", Change::Renamed, Change::Unmodified, "old name"),
            file("both", Change::Unmerged, Change::Unmerged, ""),
            file("ü", Change::Untracked, Change::Untracked, ""),
        ];
        assert_eq!(status.file_status, expected);
    }

    /// Any bytes are read without a panic: valid output, damaged at places that a fixed generator picks.
    #[test]
    fn damaged_output() {
        let output =
            format!("# branch.ab +2 -1\x002 R. N... 1 2 3 {HASH} {HASH} R100 new\0old\x00u UD N... 1 2 3 4 a b c x\0");
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..20_000 {
            let mut damaged = output.clone().into_bytes();
            for _ in 0..=random(6) {
                damaged[random(output.len())] = [0, b' ', b'\n', 0xff, b'2', b'?'][random(6)];
            }
            let (mut records, mut parser) = (Records::default(), Parser::default());
            for piece in damaged.chunks(1 + random(40)) {
                records.push(piece, |record| parser.take(record));
            }
            assert!(parser.status.file_status.len() <= damaged.len());
        }
    }

    #[test]
    fn detached_and_malformed() {
        let status = parse("# branch.head (detached)\0# branch.ab 1 2\x001 M\x002 R.\0u\x001 ABC x\0\0#\0# \0");
        let expected = Status { detached: true, current_branch: "HEAD".into(), ..Status::default() };
        assert_eq!(status, expected);
    }
}
