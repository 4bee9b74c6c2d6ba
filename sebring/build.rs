//! Builds the agent, which is static and optimised for size, so that it can be part of this program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")).join("..");
    for input in ["compute/agent", "types", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let target = format!("{}-unknown-linux-gnu", variable("CARGO_CFG_TARGET_ARCH"));
    let target_dir = root.join("target/agent-build");
    let status = Command::new(variable("CARGO"))
        .current_dir(&root)
        .args(["build", "--package", "sebring-agent", "--profile", "agent", "--target", &target, "--target-dir"])
        .arg(&target_dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static")
        // What this build was started with is not meant for that one.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .status();
    assert!(matches!(status, Ok(status) if status.success()), "the agent could not be built: {status:?}");
    let program = target_dir.join(target).join("agent/sebring-agent");
    let copy = PathBuf::from(variable("OUT_DIR")).join("sebring-agent");
    if let Err(error) = fs::copy(&program, &copy) {
        panic!("{} could not be copied: {error}", program.display());
    }
}

fn variable(name: &str) -> String {
    match env::var(name) {
        Ok(value) => value,
        Err(error) => panic!("cargo sets {name}: {error}"),
    }
}
