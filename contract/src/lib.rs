//! The API that clients expect of us, written down as tables, and the comparison of our documents with them.
//!
//! A table (`tables/*.txt`) has every operation of the contract with its queries, the fields of its request and of its
//! successful answers, their types and whether they must be there. Where ours differs, the line says how and why; see
//! [`Table`] for the format. [`check`] computes the table anew and fails when it is not the one that is committed, so
//! an excuse that no longer applies fails as well as a field that went missing. Not compared: values of enumerations, what may
//! be null, media types, formats, and types of queries.
//!
//! Whoever has the contract's own documents keeps them in `../shared/contract`, beside the project, or in the directory
//! that `SEBRING_CONTRACT` names; the tables are then compared with those, too.
#![forbid(unsafe_code)]

mod shape;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

pub use shape::Operations;
pub use table::Table;

/// Names the directory of the contract's documents.
const DOCUMENTS: &str = "SEBRING_CONTRACT";
/// Where they lie otherwise, from the root of the project.
const BESIDE_THE_PROJECT: &str = "../shared/contract";
/// When it is set, tables are written instead of compared; a new difference still needs its reason written into it.
const WRITE: &str = "SEBRING_WRITE_DOCUMENTS";

/// One of the APIs that we speak.
#[derive(Clone, Copy, Debug)]
pub enum Contract {
    Api,
    Toolbox,
}

impl Contract {
    fn table(self) -> &'static str {
        match self {
            Self::Api => "api.txt",
            Self::Toolbox => "toolbox.txt",
        }
    }

    fn document(self) -> &'static str {
        match self {
            Self::Api => "openapi-0.231.0.reconstructed.json",
            Self::Toolbox => "toolbox-0.226.1.reconstructed.json",
        }
    }
}

/// Compares our document with the table, and the table with the contract's document where that is at hand.
///
/// # Panics
/// When they differ, when a difference has no reason, or when a file that must be there can't be read.
pub fn check(contract: Contract, ours: &Value) {
    let (path, text) = read(contract);
    let written: Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let theirs = match document(contract) {
        Some(document) => Operations::of(&document),
        None => written.contract(),
    };
    let computed = Table::compare(&theirs, &Operations::of(ours), &written);
    if env::var_os(WRITE).is_some() {
        fs::write(&path, computed.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    } else {
        let differences = differences(&text, &computed.to_string());
        assert!(
            differences.is_empty(),
            "{} is not how things are (-: committed, +: found); {WRITE}=1 writes it:\n{differences}",
            contract.table()
        );
    }
    let unexplained = computed.unexplained();
    assert!(unexplained.is_empty(), "{} gives no reason for\n{}", contract.table(), unexplained.join("\n"));
}

/// Operations of the contract that the table says we lack, as `METHOD /path`.
///
/// # Panics
/// When there is no readable table.
pub fn lacking(contract: Contract) -> Vec<String> {
    let (path, text) = read(contract);
    let table: Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    table.lacking()
}

/// The root of the project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(contract: Contract) -> (PathBuf, String) {
    let path = root().join("contract/tables").join(contract.table());
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path, text)
}

fn document(contract: Contract) -> Option<Value> {
    let named = env::var_os(DOCUMENTS).map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| root().join(BESIDE_THE_PROJECT)).join(contract.document());
    match fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))),
        // Only who asked for it by name misses it.
        Err(error) if named.is_some() => panic!("{}: {error}", path.display()),
        Err(_) => None,
    }
}

/// Lines that only one of two texts has, with the operation that they belong to.
fn differences(committed: &str, found: &str) -> String {
    let (committed, found) = (in_context(committed), in_context(found));
    let alone = |one: &BTreeSet<String>, other: &BTreeSet<String>, sign: char| {
        one.difference(other).map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    alone(&committed, &found, '-') + &alone(&found, &committed, '+')
}

fn in_context(text: &str) -> BTreeSet<String> {
    let mut operation = "";
    let lines = text.lines().filter(|line| !line.is_empty()).map(|line| {
        if line.starts_with(' ') {
            format!("{operation}: {}", line.trim())
        } else {
            operation = line;
            line.to_owned()
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests;
