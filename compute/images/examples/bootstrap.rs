//! Makes the default snapshot in a data directory: `bootstrap DATA_DIR [CA_BUNDLE]`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use sebring_images::{BootstrapConfig, Console, DEFAULT_SNAPSHOT, bootstrap};

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let config = BootstrapConfig {
        data_dir: arguments.next().ok_or("usage: bootstrap DATA_DIR [CA_BUNDLE]")?,
        name: DEFAULT_SNAPSHOT.to_owned(),
        mirror: std::env::var("MIRROR").ok(),
        ca_bundle: arguments.next(),
        force: false,
    };
    let manifest = bootstrap(&config, &mut Console::new())?;
    println!("{} {} ({} MB)", manifest.id, manifest.name, manifest.size / 1_000_000);
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
