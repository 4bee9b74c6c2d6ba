//! The elements of a server's table that belong to sandboxes, to find those that no sandbox owns. Not on the way of any sandbox: it runs
//! `nft` and reads its JSON (libnftables-json(5)).

use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::Value;

use crate::egress::{ALLOWED, CLOSED, CONFINED, OPENED};
use crate::links::LINKED;
use crate::{Claim, NetworkError, policy};

/// The sets whose elements are put there for a sandbox. The others are filled and emptied by the kernel as packets pass.
const OWNED: [&str; 5] = [CLOSED, CONFINED, ALLOWED, OPENED, LINKED];

/// One element of one of these sets, which all begin with the sandbox's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Set and element, in the words of `nft`.
    pub name: String,
    /// The sandbox's address.
    pub source: Ipv4Addr,
}

/// All elements; none when there is no table.
pub fn list(claim: Claim) -> Result<Vec<Element>, NetworkError> {
    let output = Command::new("nft")
        .args(["-j", "list", "table", "inet", &policy::table(claim)])
        .output()
        .map_err(|error| NetworkError::Policy(format!("nft: {error}")))?;
    if !output.status.success() {
        return Ok(Vec::new());
    }
    let answer: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| NetworkError::Policy(format!("the answer of nft is no JSON: {error}")))?;
    Ok(read(&answer))
}

/// Removes one element.
pub fn remove(claim: Claim, name: &str) -> Result<(), NetworkError> {
    policy::run(&format!("delete element inet {} {name}\n", policy::table(claim)))
}

fn read(answer: &Value) -> Vec<Element> {
    let objects = answer["nftables"].as_array().into_iter().flatten();
    objects
        .filter_map(|object| object.get("set"))
        .filter(|set| set["name"].as_str().is_some_and(|name| OWNED.contains(&name)))
        .flat_map(|set| {
            let elements = set["elem"].as_array().into_iter().flatten();
            elements.filter_map(|element| {
                let text = text(element)?;
                let source = text.split(' ').next()?.parse().ok()?;
                Some(Element { name: format!("{} {{ {text} }}", set["name"].as_str()?), source })
            })
        })
        .collect()
}

fn text(element: &Value) -> Option<String> {
    if let Some(text) = element.as_str() {
        return Some(text.to_owned());
    }
    if let Some(inner) = element.get("elem") {
        // One with a timeout or a counter.
        return text(&inner["val"]);
    }
    if let Some(prefix) = element.get("prefix") {
        return Some(format!("{}/{}", prefix["addr"].as_str()?, prefix["len"]));
    }
    if let Some(range) = element.get("range") {
        return Some(format!("{}-{}", range[0].as_str()?, range[1].as_str()?));
    }
    let parts = element.get("concat")?.as_array()?;
    Some(parts.iter().map(text).collect::<Option<Vec<_>>>()?.join(" . "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_nft_writes() {
        let answer = serde_json::json!({"nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"set": {"name": "closed", "elem": ["10.200.0.17"]}},
            {"set": {"name": "confined"}},
            {"set": {"name": "told", "elem": ["10.200.0.17"]}},
            {"set": {"name": "allowed", "elem": [
                {"concat": ["10.200.0.18", {"prefix": {"addr": "1.1.1.0", "len": 24}}]},
                {"elem": {"val": {"concat": ["10.200.0.18", {"range": ["2.0.0.1", "2.0.0.9"]}]}, "timeout": 60}},
            ]}},
        ]});
        let names: Vec<_> = read(&answer).into_iter().map(|element| element.name).collect();
        assert_eq!(
            names,
            [
                "closed { 10.200.0.17 }",
                "allowed { 10.200.0.18 . 1.1.1.0/24 }",
                "allowed { 10.200.0.18 . 2.0.0.1-2.0.0.9 }"
            ]
        );
    }
}
