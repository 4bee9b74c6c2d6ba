//! What pid 1 does before it listens: files of `/etc` that name the sandbox, its user, its directories.
//!
//! Outside a sandbox, as in tests, the agent is not pid 1 and leaves `/etc` and directories alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use sebring_types::agent::{AgentConfig, CONTROL_FD, FailureKind};

use super::accounts::Accounts;
use super::files;
use super::identity::Identity;

/// Ends the lines of `/etc/hosts` that are ours, so that lines of the sandbox's own survive a restart.
const HOSTS_MARK: &str = "# sebring";
/// Ids that a sandbox has. The kernel refuses the whole list of groups for one that it has not.
const IDS: u32 = 65_536;
/// A file of more bytes is not one that names hosts, and is left alone.
const HOSTS_LIMIT: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the image has no user {0:?}: name one that its /etc/passwd lists, or a numeric uid")]
    UserNotFound(String),
    #[error("the sandbox's disk is full: no space left to write {}", .0.display())]
    Full(PathBuf),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot listen at {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error("cannot prepare the agent's process: {0}")]
    Process(#[from] io::Error),
}

impl SetupError {
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::UserNotFound(_) => FailureKind::UserNotFound,
            Self::Full(_) => FailureKind::Storage,
            Self::Write { source, .. } => match source.raw_os_error() {
                Some(libc::EIO | libc::EROFS | libc::EUCLEAN) => FailureKind::Storage,
                _ => FailureKind::Internal,
            },
            Self::Listen { .. } | Self::Process(_) => FailureKind::Internal,
        }
    }

    fn write(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path.to_owned()),
            _ => Self::Write { path: path.to_owned(), source },
        }
    }
}

/// Does what needs no configuration, and looks once at the files that one will change, so that they are in memory then.
/// Runs as root.
pub fn anticipate() -> Result<(), SetupError> {
    if std::process::id() == 1 {
        link_mounts()?;
        for name in ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"] {
            // It may be absent.
            let _seen = fs::symlink_metadata(name);
        }
    }
    let _seen = Accounts::read();
    Ok(())
}

/// Where programs of old look mounts up, such as the helper by which users mount FUSE.
fn link_mounts() -> Result<(), SetupError> {
    let etc = Path::new("/etc");
    files::make_directory(etc).map_err(|source| SetupError::write(etc, source))?;
    let mounts = etc.join("mtab");
    match std::os::unix::fs::symlink("/proc/self/mounts", &mounts) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(SetupError::write(&mounts, source)),
        _ => Ok(()),
    }
}

/// Writes the files of `/etc`, finds the user and makes its directories. Runs as root. Where no home can be, it is `/`; where
/// no work directory can be, it is the home.
pub fn prepare(config: &mut AgentConfig) -> Result<Identity, SetupError> {
    let mut identity = find_user(&config.user)?;
    if std::process::id() == 1 {
        write_names(&config.hostname, config.nameserver.as_deref(), config.address.as_deref())?;
        if !make_directory(Path::new(&identity.home), &identity)? {
            identity.home = "/".to_owned();
        }
        if let Some(work_dir) = &config.work_dir
            && !make_directory(Path::new(work_dir), &identity)?
        {
            config.work_dir = None;
        }
    }
    Ok(identity)
}

/// Binds the control socket; only root, that is the runner outside, may connect.
pub fn listen(path: &Path) -> Result<UnixListener, SetupError> {
    let bind = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| SetupError::Listen { path: path.to_owned(), source })
}

/// Opens the directory of the control socket, at [`CONTROL_FD`]. Outside a sandbox, as in tests, another may have that number.
pub fn hold(socket: &Path) -> Result<OwnedFd, SetupError> {
    let dir = socket.parent().unwrap_or(Path::new("/"));
    let open = || {
        let mut options = fs::File::options();
        let found = options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(dir)?;
        if found.as_raw_fd() != CONTROL_FD && std::process::id() == 1 {
            return Err(io::Error::other("its descriptor is taken"));
        }
        Ok(found.into())
    };
    open().map_err(|source| SetupError::Listen { path: dir.to_owned(), source })
}

/// A user without an entry may be given by number: it has group 0 and home `/`, as in the OCI runtimes. Root is one.
fn find_user(wanted: &str) -> Result<Identity, SetupError> {
    let accounts = Accounts::read();
    if let Some(account) = accounts.find(wanted) {
        let mut groups = accounts.supplementary_groups(&account.name);
        groups.push(account.gid);
        groups.retain(|group| *group < IDS);
        groups.sort_unstable();
        groups.dedup();
        let home = if account.home.starts_with('/') { account.home.clone() } else { "/".to_owned() };
        return Ok(Identity { name: account.name.clone(), uid: account.uid, gid: account.gid, groups, home });
    }
    let uid = if wanted == "root" { Ok(0) } else { wanted.parse() };
    match uid {
        Ok(uid) => Ok(Identity { name: wanted.to_owned(), uid, gid: 0, groups: vec![0], home: "/".to_owned() }),
        Err(_) => Err(SetupError::UserNotFound(wanted.to_owned())),
    }
}

/// Writes the files that say what the sandbox is called. Runs as root.
pub fn write_names(hostname: &str, nameserver: Option<&str>, address: Option<&str>) -> Result<(), SetupError> {
    let etc = Path::new("/etc");
    files::make_directory(etc).map_err(|source| SetupError::write(etc, source))?;
    let write = |name: &str, text: &str| {
        let path = etc.join(name);
        files::write(&path, text).map_err(|source| SetupError::write(&path, source))
    };
    write("hostname", &format!("{hostname}\n"))?;
    let present = files::read(&etc.join("hosts"), HOSTS_LIMIT).unwrap_or_default();
    if (present.len() as u64) < HOSTS_LIMIT {
        write("hosts", &hosts_text(&String::from_utf8_lossy(&present), hostname, address))?;
    }
    if let Some(nameserver) = nameserver {
        write("resolv.conf", &format!("nameserver {nameserver}\n"))?;
    }
    Ok(())
}

fn hosts_text(present: &str, hostname: &str, address: Option<&str>) -> String {
    let address = address.unwrap_or("127.0.1.1");
    let mut text = format!(
        "127.0.0.1\tlocalhost {HOSTS_MARK}\n::1\tlocalhost ip6-localhost ip6-loopback {HOSTS_MARK}\n\
         {address}\t{hostname} {HOSTS_MARK}\n"
    );
    for line in present.lines().filter(|line| !line.ends_with(HOSTS_MARK)) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// A missing directory is made with its parents and given to the user; an existing one is left as it is. Answers whether
/// there is one now: the path may lead through anything.
fn make_directory(path: &Path, owner: &Identity) -> Result<bool, SetupError> {
    if path.is_dir() {
        return Ok(true);
    }
    let made = fs::create_dir_all(path).and_then(|()| chown(path, Some(owner.uid), Some(owner.gid)));
    match made.map_err(|source| SetupError::write(path, source)) {
        Err(error) if error.kind() == FailureKind::Storage => Err(error),
        made => Ok(made.is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_keep_foreign_lines_and_replace_ours() {
        let first = hosts_text("10.1.2.3\tdatabase\n", "one", Some("10.0.0.2"));
        assert!(first.contains("10.0.0.2\tone # sebring\n") && first.contains("10.1.2.3\tdatabase\n"));
        let second = hosts_text(&first, "two", None);
        assert!(!second.contains("one") && second.contains("127.0.1.1\ttwo") && second.contains("database"));
        assert_eq!(second.lines().count(), 4);
    }

    #[test]
    fn numeric_users_need_no_entry() {
        let identity = find_user("54321").expect("a number is enough");
        assert_eq!((identity.uid, identity.gid, identity.home.as_str()), (54321, 0, "/"));
        assert_eq!(find_user("root").expect("always there").uid, 0);
        assert!(matches!(find_user("no such user"), Err(SetupError::UserNotFound(_))));
    }
}
