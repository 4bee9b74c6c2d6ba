//! Lists the migrations for `src/migrations.rs`. The macro of sqlx would do the same, but has both database drivers
//! built once more, for the compiler.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    let directory = Path::new(&variable("CARGO_MANIFEST_DIR")).join("migrations");
    let entries = fs::read_dir(&directory).expect("a directory of migrations");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8")).collect();
    names.sort();
    let mut list = String::from("[\n");
    for name in &names {
        let (version, description) = name
            .strip_suffix(".sql")
            .and_then(|name| name.split_once('_'))
            .and_then(|(version, description)| Some((version.parse::<i64>().ok()?, description.replace('_', " "))))
            .unwrap_or_else(|| panic!("{name} is not called VERSION_DESCRIPTION.sql"));
        let path = directory.join(name);
        writeln!(list, "    ({version}, {description:?}, include_str!({path:?})),").expect("written to memory");
    }
    list.push(']');
    fs::write(Path::new(&variable("OUT_DIR")).join("migrations.rs"), list).expect("the list is written");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name}: {error}"))
}
