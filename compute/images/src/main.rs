//! Makes the default snapshot, as `sebring snapshot bootstrap` does: `sebring-bootstrap DIR [MIRROR [CA_BUNDLE]]`, empty
//! for none.
//!
//! It is a small part of `sebring` and built long before it, so that `dev/up` makes the snapshot while the rest
//! compiles.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use sebring_images::{BootstrapConfig, Console, DEFAULT_SNAPSHOT, bootstrap};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|one| Some(one).filter(|one| !one.is_empty()));
    let Some(data_dir) = arguments.next().flatten() else {
        eprintln!("usage: sebring-bootstrap DIR [MIRROR [CA_BUNDLE]]");
        return ExitCode::from(2);
    };
    let config = BootstrapConfig {
        data_dir: data_dir.into(),
        name: DEFAULT_SNAPSHOT.to_owned(),
        mirror: arguments.next().flatten(),
        ca_bundle: arguments.next().flatten().map(PathBuf::from),
        force: false,
    };
    match bootstrap(&config, &mut Console::new()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
