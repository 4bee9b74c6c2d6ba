//! The table of a contract: read, written, and computed from both documents.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::shape::{ANY, Field, Operations, Part, ROOT, Shape};

/// Stands at the head of each table.
const HEAD: &str = "\
# One line for each operation of the contract, then its parts: queries, body, answers by status. A line has a field (`.`:
# the part itself), its type, and whether it must be there or may. `=`: as in the part that is named. What follows is
# where ours differs, and why:
#     - reason                we don't have it
#     + reason                only we have it
#     ~ type must: reason     ours is different
# A request of ours may demand less, an answer of ours may promise more. Everything but the reasons is written by
#     SEBRING_WRITE_DOCUMENTS=1 cargo test -p sebring-agent -p sebring-api contract
";

/// Bodies with fewer lines are written again rather than named.
const WORTH_NAMING: usize = 4;

/// How we do what one line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ours {
    Same,
    Lacks,
    Alone,
    Differs(Field),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remark {
    ours: Ours,
    /// Empty for what is the same, and for what nobody explained yet.
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    field: Field,
    remark: Remark,
}

type Lines = BTreeMap<(Part, String), Line>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    remark: Remark,
    /// None of an operation that only one side has.
    lines: Lines,
}

/// A contract beside what we do of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(BTreeMap<String, Entry>);

impl Table {
    /// What the contract has, as far as the table tells: not the parts of operations that we lack.
    pub fn contract(&self) -> Operations {
        let theirs = self.0.iter().filter(|(_, entry)| entry.remark.ours != Ours::Alone);
        let shape = |entry: &Entry| {
            let lines = entry.lines.iter().filter(|(_, line)| line.remark.ours != Ours::Alone);
            lines.map(|(key, line)| (key.clone(), line.field.clone())).collect()
        };
        Operations(theirs.map(|(operation, entry)| (operation.clone(), shape(entry))).collect())
    }

    /// The table of two documents, with the reasons that an earlier one gives for the same differences.
    pub fn compare(theirs: &Operations, ours: &Operations, earlier: &Self) -> Self {
        let mut table = BTreeMap::new();
        let empty = Lines::new();
        let all = theirs.0.keys().chain(ours.0.keys().filter(|name| !theirs.0.contains_key(*name)));
        for name in all {
            let before = earlier.0.get(name);
            let (found, lines) = match (theirs.0.get(name), ours.0.get(name)) {
                (Some(theirs), Some(ours)) => {
                    (Ours::Same, compare_shapes(theirs, ours, before.map_or(&empty, |entry| &entry.lines)))
                }
                (Some(_), None) => (Ours::Lacks, Lines::new()),
                (None, _) => (Ours::Alone, Lines::new()),
            };
            let remark = Remark::new(found, before.map(|entry| &entry.remark));
            table.insert(name.clone(), Entry { remark, lines });
        }
        Self(table)
    }

    /// Operations of the contract that we don't have.
    pub fn lacking(&self) -> Vec<String> {
        let lacking = self.0.iter().filter(|(_, entry)| entry.remark.ours == Ours::Lacks);
        lacking.map(|(operation, _)| operation.clone()).collect()
    }

    /// Differences that have no reason.
    pub fn unexplained(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (operation, entry) in &self.0 {
            if entry.remark.is_unexplained() {
                found.push(operation.clone());
            }
            let lines = entry.lines.iter().filter(|(_, line)| line.remark.is_unexplained());
            found.extend(lines.map(|((part, field), _)| format!("{operation}: {part} {field}")));
        }
        found
    }
}

impl Remark {
    fn new(ours: Ours, earlier: Option<&Self>) -> Self {
        // A reason explains one difference, not another in its place.
        let reason = earlier.filter(|one| one.ours == ours).map_or(String::new(), |earlier| earlier.reason.clone());
        Self { ours, reason }
    }

    fn is_unexplained(&self) -> bool {
        self.ours != Ours::Same && self.reason.is_empty()
    }
}

fn compare_shapes(theirs: &Shape, ours: &Shape, earlier: &Lines) -> Lines {
    let mut lines = Lines::new();
    let mut add = |key: &(Part, String), field: &Field, found| {
        let remark = Remark::new(found, earlier.get(key).map(|line| &line.remark));
        lines.insert(key.clone(), Line { field: field.clone(), remark });
    };
    let present = |key: &(Part, String)| theirs.contains_key(key) && ours.contains_key(key);
    for (key, theirs) in theirs.iter().filter(|(key, _)| enclosing(key).iter().all(present)) {
        let found = match ours.get(key) {
            // In an answer, fields of all names hold any that we name; in a request it is for clients to name them.
            None if is_any(&key.1)
                && key.0 != "body"
                && ours.keys().any(|other| enclosing(other) == enclosing(key)) =>
            {
                Ours::Same
            }
            None => Ours::Lacks,
            Some(ours) if satisfies(&key.0, ours, theirs) => Ours::Same,
            Some(ours) => Ours::Differs(ours.clone()),
        };
        add(key, theirs, found);
    }
    let is_known = |key: &(Part, String)| {
        let any = theirs.keys().find(|other| is_any(&other.1) && enclosing(other) == enclosing(key));
        theirs.contains_key(key) || any.is_some()
    };
    for (key, ours) in ours.iter().filter(|(key, _)| !is_known(key) && enclosing(key).iter().all(present)) {
        add(key, ours, Ours::Alone);
    }
    lines
}

fn is_any(path: &str) -> bool {
    path == ANY || path.ends_with(".*")
}

/// What a field is inside of, from its part on: below what one side lacks, nothing is told.
fn enclosing((part, path): &(Part, String)) -> Vec<(Part, String)> {
    if part == "query" || path == ROOT {
        return Vec::new();
    }
    let ends = path.match_indices('.').map(|(end, _)| path[..end].trim_end_matches("[]"));
    let fields = ends.filter(|field| !field.is_empty()).map(|field| (part.clone(), field.to_owned()));
    std::iter::once((part.clone(), ROOT.to_owned())).chain(fields).collect()
}

/// Whether ours is what a client of theirs counts on.
fn satisfies(part: &str, ours: &Field, theirs: &Field) -> bool {
    match part {
        // A query is text, whatever is read from it.
        "query" => theirs.required || !ours.required,
        "body" => holds(&ours.kind, &theirs.kind) && (theirs.required || !ours.required),
        _ => holds(&theirs.kind, &ours.kind) && (ours.required || !theirs.required),
    }
}

/// Whether each value of type `kind` has the type `wide`.
fn holds(wide: &str, kind: &str) -> bool {
    wide == kind || wide == "any" || (wide == "number" && kind == "integer")
}

impl Display for Table {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        to.write_str(HEAD)?;
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_by_key(|(operation, _)| operation.split_once(' ').map(|(method, path)| (path, method)));
        let mut is_long = true;
        for (operation, entry) in entries {
            // Operations without parts stand together.
            if is_long || !entry.lines.is_empty() {
                writeln!(to)?;
            }
            is_long = !entry.lines.is_empty();
            writeln!(to, "{operation}{}", entry.remark)?;
            for part in parts(&entry.lines) {
                let text = part_text(&entry.lines, part);
                match named.get(&text) {
                    Some(other) if text.lines().count() >= WORTH_NAMING => writeln!(to, "    {part:<6}= {other}")?,
                    _ => {
                        named.insert(text.clone(), format!("{operation} {part}"));
                        text.lines().try_for_each(|line| writeln!(to, "    {part:<6}{line}"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Queries first, then the body, then answers.
fn parts(lines: &Lines) -> Vec<&str> {
    let mut parts: Vec<_> = lines.keys().map(|(part, _)| part.as_str()).collect();
    parts.dedup();
    parts.sort_by_key(|part| match *part {
        "query" => "0",
        "body" => "00",
        status => status,
    });
    parts
}

fn part_text(lines: &Lines, part: &str) -> String {
    let lines: Vec<_> = lines.iter().filter(|((of, _), _)| of == part).collect();
    let width = lines.iter().map(|((_, field), _)| field.len()).max().unwrap_or_default();
    let one = |(key, line): &(&(Part, String), &Line)| {
        let text = format!("{:<width$} {:<8}{:<4}{}", key.1, line.field.kind, demand(&line.field), line.remark);
        format!("{}\n", text.trim_end())
    };
    lines.iter().map(one).collect()
}

fn demand(field: &Field) -> &'static str {
    if field.required { "must" } else { "may" }
}

impl Display for Remark {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match &self.ours {
            Ours::Same => Ok(()),
            Ours::Lacks => write!(to, " - {}", self.reason),
            Ours::Alone => write!(to, " + {}", self.reason),
            Ours::Differs(field) => write!(to, " ~ {} {}: {}", field.kind, demand(field), self.reason),
        }
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut table = Self::default();
        let mut operation = String::new();
        for (number, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("line {}: {what}", number + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some(line) = line.strip_prefix("    ") else {
                let (name, remark) = operation_line(line).map_err(wrong)?;
                operation = name;
                table.0.insert(operation.clone(), Entry { remark, lines: Lines::new() });
                continue;
            };
            let (part, rest) = word(line);
            let lines = match rest.strip_prefix("= ") {
                Some(other) => table.part(other).ok_or_else(|| wrong("the other part is not above"))?,
                None => vec![field_line(rest).map_err(wrong)?],
            };
            let entry = table.0.get_mut(&operation).ok_or_else(|| wrong("belongs to no operation"))?;
            entry.lines.extend(lines.into_iter().map(|(field, line)| ((part.to_owned(), field), line)));
        }
        Ok(table)
    }
}

impl Table {
    /// The lines of `METHOD /path PART`.
    fn part(&self, name: &str) -> Option<Vec<(String, Line)>> {
        let (operation, part) = name.rsplit_once(' ')?;
        let lines = self.0.get(operation)?.lines.iter().filter(|((of, _), _)| of == part);
        let lines: Vec<_> = lines.map(|((_, field), line)| (field.clone(), line.clone())).collect();
        (!lines.is_empty()).then_some(lines)
    }
}

/// `METHOD /path`, and the remark if there is one.
fn operation_line(line: &str) -> Result<(String, Remark), &'static str> {
    let (method, rest) = word(line);
    let (path, rest) = word(rest);
    if !path.starts_with('/') {
        return Err("an operation is METHOD /path");
    }
    Ok((format!("{method} {path}"), remark(rest)?))
}

fn field_line(line: &str) -> Result<(String, Line), &'static str> {
    let (field, rest) = word(line);
    let (kind, rest) = word(rest);
    let (demand, rest) = word(rest);
    let field_of = Field { kind: kind.to_owned(), required: demanded(demand)? };
    Ok((field.to_owned(), Line { field: field_of, remark: remark(rest)? }))
}

fn remark(text: &str) -> Result<Remark, &'static str> {
    let (sign, rest) = word(text);
    let (ours, reason) = match sign {
        "" => (Ours::Same, ""),
        "-" => (Ours::Lacks, rest),
        "+" => (Ours::Alone, rest),
        "~" => {
            let (field, reason) = rest.split_once(':').ok_or("a difference is ~ type must: reason")?;
            let (kind, demand) = field.split_once(' ').ok_or("a difference is ~ type must: reason")?;
            (Ours::Differs(Field { kind: kind.to_owned(), required: demanded(demand)? }), reason.trim())
        }
        _ => return Err("a remark begins with -, + or ~"),
    };
    Ok(Remark { ours, reason: reason.to_owned() })
}

fn demanded(word: &str) -> Result<bool, &'static str> {
    match word {
        "must" => Ok(true),
        "may" => Ok(false),
        _ => Err("a field must be there or may: write must or may"),
    }
}

/// The first word of a line, and what follows it.
fn word(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word, rest.trim_start())
}
