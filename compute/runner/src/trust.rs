//! Certificates that sandboxes trust beside their image's own: a read-only layer over the image, made once per snapshot.
//!
//! The layer holds the image's bundle with ours appended, at the places that distributions use, so that every program that
//! trusts the system's bundle trusts ours. Programs with a bundle of their own are pointed to the system's by variables.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sebring_fault::{Point, point};
use sebring_types::SnapshotId;
use sha2::{Digest, Sha256};

/// Bundles as distributions install them: Debian and Alpine, then Fedora and SUSE.
const BUNDLES: [&str; 3] =
    ["etc/ssl/certs/ca-certificates.crt", "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/ssl/ca-bundle.pem"];
/// More than any bundle has, bytes.
const LARGEST: u64 = 16 << 20;
/// Where Debian's `update-ca-certificates` finds additions, so that it keeps ours.
const ADDITION: &str = "usr/local/share/ca-certificates/sebring.crt";
/// Read by Node.js, by Python's requests and by OpenSSL.
const VARIABLES: [&str; 3] = ["NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];

/// The certificates to add, and where the layers are kept.
#[derive(Debug)]
pub(crate) struct Trust {
    certificates: Vec<u8>,
    dir: PathBuf,
}

impl Trust {
    /// Reads the bundle; removes the layers of other bundles, unless sandboxes run, which may stand on them.
    pub fn open(layers: &Path, bundle: &Path, in_use: bool) -> io::Result<Self> {
        let certificates = fs::read(bundle)?;
        if !certificates.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "holds no PEM certificate"));
        }
        let digest = Sha256::digest(&certificates);
        let name: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        fs::create_dir_all(layers)?;
        for entry in fs::read_dir(layers)? {
            let entry = entry?;
            if !in_use && entry.file_name() != name.as_str() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let dir = layers.join(name);
        remove_unfinished(&dir)?;
        Ok(Self { certificates, dir })
    }

    /// The layer for a snapshot; made when it is asked for first.
    pub fn layer(&self, snapshot: SnapshotId, rootfs: &Path) -> io::Result<PathBuf> {
        let layer = self.dir.join(snapshot.to_string());
        if layer.exists() {
            return Ok(layer);
        }
        let new = self.dir.join(format!(".{snapshot}-{:?}", std::thread::current().id()));
        let root = File::open(rootfs)?;
        for bundle in BUNDLES {
            match read_inside(&root, bundle) {
                Ok(mut content) => {
                    content.push(b'\n');
                    content.extend_from_slice(&self.certificates);
                    place(&new, bundle, &content)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && bundle != BUNDLES[0] => {}
                // An image without certificates gets ours.
                Err(error) if error.kind() == io::ErrorKind::NotFound => place(&new, bundle, &self.certificates)?,
                Err(error) => return Err(error),
            }
        }
        place(&new, ADDITION, &self.certificates)?;
        point(Point::LayerPlaced);
        match fs::rename(&new, &layer) {
            Err(_) if layer.exists() => fs::remove_dir_all(&new).map(|()| layer),
            other => other.map(|()| layer),
        }
    }

    /// Adds the variables that point programs to the bundle, where the sandbox does not set them itself.
    pub fn add_variables(env: &mut BTreeMap<String, String>) {
        for name in VARIABLES {
            env.entry(name.to_owned()).or_insert_with(|| format!("/{}", BUNDLES[0]));
        }
    }
}

/// Removes what a server left that ended while it made a layer.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Reads a file of an image, whose maker may be anybody: without following a link out of it, and only if it is a file, of a
/// size that a bundle may have. Anything else counts as absent.
fn read_inside(root: &File, path: &str) -> io::Result<Vec<u8>> {
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), within) {
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(io::ErrorKind::NotFound.into()),
        found => found?,
    };
    let meta = rustix::fs::fstat(&found)?;
    if FileType::from_raw_mode(meta.st_mode) != FileType::RegularFile || meta.st_size as u64 > LARGEST {
        return Err(io::ErrorKind::NotFound.into());
    }
    // By the descriptor, so that it is this file.
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    let mut content = Vec::new();
    file.take(LARGEST).read_to_end(&mut content)?;
    Ok(content)
}

fn place(layer: &Path, path: &str, content: &[u8]) -> io::Result<()> {
    let path = layer.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_to_the_images_own_bundle_and_stays_inside_it() {
        let dir = std::env::temp_dir().join(format!("sebring-trust-{}", std::process::id()));
        let rootfs = dir.join("rootfs");
        fs::create_dir_all(rootfs.join("etc/ssl/certs")).expect("image");
        fs::write(rootfs.join("bundle"), "own").expect("bundle");
        std::os::unix::fs::symlink("/bundle", rootfs.join(BUNDLES[0])).expect("absolute link");
        let extra = "-----BEGIN CERTIFICATE-----";
        fs::write(dir.join("extra.pem"), extra).expect("certificates");

        let trust = Trust::open(&dir.join("layers"), &dir.join("extra.pem"), false).expect("open");
        let layer = trust.layer(SnapshotId::generate(), &rootfs).expect("layer");
        let merged = fs::read_to_string(layer.join(BUNDLES[0])).expect("merged bundle");
        assert_eq!(merged, format!("own\n{extra}"));
        assert!(!layer.join(BUNDLES[1]).exists());
        fs::remove_dir_all(dir).expect("clean up");
    }

    #[test]
    fn what_an_image_has_in_a_bundles_place_is_read_only_if_it_is_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let extra = "-----BEGIN CERTIFICATE-----";
        fs::write(dir.path().join("extra.pem"), extra).expect("certificates");
        let trust = Trust::open(&dir.path().join("layers"), &dir.path().join("extra.pem"), false).expect("open");
        let plants: [fn(&Path) -> io::Result<()>; 4] = [
            |place| Ok(rustix::fs::mkfifoat(rustix::fs::CWD, place, Mode::RWXU)?),
            |place| File::create(place)?.set_len(1 << 40),
            |place| fs::create_dir(place),
            |place| std::os::unix::fs::symlink("ca-certificates.crt", place),
        ];
        for (number, plant) in plants.into_iter().enumerate() {
            let rootfs = dir.path().join(number.to_string());
            fs::create_dir_all(rootfs.join("etc/ssl/certs")).expect("image");
            plant(&rootfs.join(BUNDLES[0])).expect("planted");
            let layer = trust.layer(SnapshotId::generate(), &rootfs).expect("layer");
            assert_eq!(fs::read_to_string(layer.join(BUNDLES[0])).expect("bundle"), extra, "plant {number}");
        }
    }
}
