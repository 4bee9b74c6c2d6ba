//! The snapshots of one data directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sebring_types::{Isolation, SnapshotId, SnapshotManifest};

use crate::error::StoreError;
use crate::tree::Usage;
use crate::{manifest, tree};

const BUILD_PREFIX: &str = ".build-";
const TRASH_PREFIX: &str = ".trash-";
const LOCK: &str = ".bootstrap.lock";
const RECIPE: &str = "recipe";

/// The folder `snapshots` of a data directory: the crate's head shows what lies in it.
///
/// Holds nothing open and remembers nothing, so that a bootstrap in another process is seen at once.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    dir: PathBuf,
}

impl SnapshotStore {
    /// The store in `data_dir`; makes its folder if there is none, for root alone: images hold set-user-id programs.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let dir = data_dir.join("snapshots");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(StoreError::io("can't make", &dir))?;
        Ok(Self { dir })
    }

    /// All complete snapshots, the oldest first; of several with one name only the newest.
    pub fn list(&self) -> Result<Vec<SnapshotManifest>, StoreError> {
        let newest: BTreeMap<_, _> = self.all()?.into_iter().map(|found| (found.name.clone(), found)).collect();
        let mut list: Vec<_> = newest.into_values().collect();
        list.sort_by_key(|found| found.id);
        Ok(list)
    }

    /// Snapshots that a newer one of the same name replaces: to be removed when no sandbox stands on them.
    pub fn superseded(&self) -> Result<Vec<SnapshotManifest>, StoreError> {
        let current = self.list()?;
        let mut all = self.all()?;
        all.retain(|found| current.iter().all(|newest| newest.id != found.id));
        Ok(all)
    }

    /// The newest snapshot of that name.
    pub fn find(&self, name: &str) -> Result<Option<SnapshotManifest>, StoreError> {
        Ok(self.all()?.into_iter().rfind(|found| found.name == name))
    }

    /// The manifest of one snapshot.
    pub fn get(&self, id: SnapshotId) -> Result<SnapshotManifest, StoreError> {
        let dir = self.path(id);
        if !dir.join(manifest::FILE_NAME).exists() {
            return Err(StoreError::NotFound(id));
        }
        manifest::read(&dir)
    }

    /// Where the root file system of a snapshot lies, or would.
    pub fn rootfs(&self, id: SnapshotId) -> PathBuf {
        self.path(id).join("rootfs")
    }

    /// What a snapshot takes on the disk, bytes. Reads every inode.
    pub fn disk_usage(&self, id: SnapshotId) -> Result<u64, StoreError> {
        Ok(self.usage_of(&self.rootfs(id))?.allocated)
    }

    /// Removes a snapshot at once for all readers, then its files. No sandbox may stand on it any more.
    pub fn remove(&self, id: SnapshotId) -> Result<(), StoreError> {
        let dir = self.path(id);
        if !dir.exists() {
            return Err(StoreError::NotFound(id));
        }
        let trash = self.dir.join(format!("{TRASH_PREFIX}{id}"));
        fs::rename(&dir, &trash).map_err(StoreError::io("can't remove", &dir))?;
        manifest::sync_dir(&self.dir)?;
        tree::remove(&trash)
    }

    /// Removes what interrupted removals and interrupted bootstraps of other recipes left. For the start of a server:
    /// slow if there is much. Answers what was removed.
    pub fn clean(&self) -> Result<Vec<PathBuf>, StoreError> {
        let unlocked = self.lock()?.is_some();
        let resumable = self.build_dir(&crate::recipe::fingerprint());
        let mut removed = Vec::new();
        for path in self.entries()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let dead_build = name.starts_with(BUILD_PREFIX) && unlocked && path != resumable;
            let incomplete = name.parse::<SnapshotId>().is_ok() && !path.join(manifest::FILE_NAME).exists();
            if dead_build || incomplete || name.starts_with(TRASH_PREFIX) {
                tree::remove(&path)?;
                removed.push(path);
            }
        }
        Ok(removed)
    }

    /// Gives the snapshots of that name this isolation, or leaves it to the server; answers how many there are. Their sandboxes
    /// have it from their next start.
    pub fn isolate(&self, name: &str, isolation: Option<Isolation>) -> Result<usize, StoreError> {
        let mut found = self.all()?;
        found.retain(|manifest| manifest.name == name);
        for manifest in &mut found {
            manifest.isolation = isolation;
            manifest::write(&self.path(manifest.id), manifest)?;
        }
        // Servers look at the folder's time to see whether what they remember is still true.
        let touch = || File::open(&self.dir)?.set_modified(std::time::SystemTime::now());
        touch().map_err(StoreError::io("can't touch", &self.dir))?;
        Ok(found.len())
    }

    /// The lock that a bootstrap holds; none when another process has it.
    pub(crate) fn lock(&self) -> Result<Option<File>, StoreError> {
        let path = self.dir.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .open(&path)
            .map_err(StoreError::io("can't open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(StoreError::io("can't lock", &path)(error)),
        }
    }

    /// The folder that this snapshot directory is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a bootstrap by the recipe of that fingerprint works.
    pub(crate) fn build_dir(&self, recipe: &str) -> PathBuf {
        self.dir.join(format!("{BUILD_PREFIX}{recipe}"))
    }

    /// The newest snapshot of that name, if it was made by the recipe of that fingerprint.
    pub(crate) fn made_by(&self, name: &str, recipe: &str) -> Result<Option<SnapshotManifest>, StoreError> {
        let Some(found) = self.find(name)? else { return Ok(None) };
        let made_by = fs::read_to_string(self.path(found.id).join(RECIPE)).unwrap_or_default();
        Ok((made_by.trim() == recipe).then_some(found))
    }

    /// Turns a finished build into a snapshot: it is there at once and whole, or not at all. Answers its folder.
    pub(crate) fn publish(&self, build: &Path, recipe: &str, found: &SnapshotManifest) -> Result<PathBuf, StoreError> {
        manifest::replace_file(&build.join(RECIPE), recipe.as_bytes())?;
        tree::sync(build)?;
        manifest::write(build, found)?;
        let target = self.path(found.id);
        fs::rename(build, &target).map_err(StoreError::io("can't publish", &target))?;
        manifest::sync_dir(&self.dir)?;
        Ok(target)
    }

    /// What a tree takes.
    pub(crate) fn usage_of(&self, root: &Path) -> Result<Usage, StoreError> {
        tree::measure(root)
    }

    fn path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    fn entries(&self) -> Result<Vec<PathBuf>, StoreError> {
        let failed = || StoreError::io("can't list", &self.dir);
        fs::read_dir(&self.dir).map_err(failed())?.map(|entry| Ok(entry.map_err(failed())?.path())).collect()
    }

    /// Every complete snapshot, the oldest first. A damaged one is left out, with a warning, and kept on the disk.
    fn all(&self) -> Result<Vec<SnapshotManifest>, StoreError> {
        let mut all = Vec::new();
        for path in self.entries()? {
            let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<SnapshotId>().ok());
            let Some(id) = id.filter(|_| path.join(manifest::FILE_NAME).exists()) else { continue };
            match manifest::read(&path) {
                Ok(found) if found.id == id && path.join("rootfs").is_dir() => all.push(found),
                Ok(_) => tracing::warn!(path = %path.display(), "snapshot left out: it is not what its manifest says"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "snapshot left out"),
            }
        }
        all.sort_by_key(|found| found.id);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use jiff::Timestamp;

    use super::*;

    fn manifest_of(name: &str) -> SnapshotManifest {
        SnapshotManifest {
            id: SnapshotId::generate(),
            name: name.to_owned(),
            size: 1,
            created_at: Timestamp::from_str("2026-01-02T03:04:05Z").expect("a time"),
            entrypoint: Vec::new(),
            env: BTreeMap::new(),
            user: "daytona".to_owned(),
            work_dir: None,
            architecture: "x86_64".to_owned(),
            resources: sebring_types::Resources::default(),
            isolation: None,
        }
    }

    fn publish(store: &SnapshotStore, name: &str, recipe: &str) -> SnapshotManifest {
        let found = manifest_of(name);
        let build = store.build_dir(recipe);
        fs::create_dir_all(build.join("rootfs")).expect("a build");
        store.publish(&build, recipe, &found).expect("published");
        found
    }

    #[test]
    fn shows_the_newest_of_a_name_and_keeps_the_older_for_its_sandboxes() {
        let data = tempfile::tempdir().expect("a directory");
        let store = SnapshotStore::open(data.path()).expect("a store");
        let old = publish(&store, "a", "1");
        let new = publish(&store, "a", "2");
        let other = publish(&store, "b", "1");
        assert_eq!(store.list().expect("a list"), [new.clone(), other]);
        assert_eq!(store.superseded().expect("a list"), std::slice::from_ref(&old));
        assert_eq!(store.find("a").expect("a search"), Some(new.clone()));
        assert_eq!(store.made_by("a", "2").expect("a search"), Some(new.clone()));
        assert_eq!(store.made_by("a", "1").expect("a search"), None);
        store.remove(new.id).expect("removed");
        assert_eq!(store.find("a").expect("a search"), Some(old));
        assert!(matches!(store.remove(new.id), Err(StoreError::NotFound(_))));
    }

    #[test]
    fn isolates_all_of_a_name_and_says_that_something_changed() {
        let data = tempfile::tempdir().expect("a directory");
        let store = SnapshotStore::open(data.path()).expect("a store");
        let ids = [publish(&store, "a", "1").id, publish(&store, "a", "2").id, publish(&store, "b", "1").id];
        let time = || fs::metadata(store.dir()).and_then(|meta| meta.modified()).expect("a time");
        let before = time();
        assert_eq!(store.isolate("a", Some(Isolation::Strict)).expect("written"), 2);
        assert_eq!(store.isolate("c", Some(Isolation::Strict)).expect("nothing to write"), 0);
        let found = ids.map(|id| store.get(id).expect("a manifest").isolation);
        assert_eq!(found, [Some(Isolation::Strict), Some(Isolation::Strict), None]);
        assert!(time() > before);
        assert_eq!(store.isolate("a", None).expect("written"), 2);
        assert_eq!(store.get(ids[0]).expect("a manifest").isolation, None);
    }

    #[test]
    fn ignores_and_cleans_what_was_interrupted() {
        let data = tempfile::tempdir().expect("a directory");
        let store = SnapshotStore::open(data.path()).expect("a store");
        let kept = publish(&store, "a", "1");
        let incomplete = store.rootfs(SnapshotId::generate());
        fs::create_dir_all(&incomplete).expect("a directory");
        fs::create_dir_all(store.build_dir("other")).expect("a directory");
        let resumable = store.build_dir(&crate::recipe::fingerprint());
        fs::create_dir_all(&resumable).expect("a directory");
        let trash = data.path().join("snapshots/.trash-x");
        fs::create_dir_all(trash.join("rootfs")).expect("a directory");

        assert_eq!(store.list().expect("a list"), std::slice::from_ref(&kept));
        let lock = store.lock().expect("a lock file").expect("not locked");
        assert!(store.lock().expect("a lock file").is_none());
        assert_eq!(store.clean().expect("cleaned").len(), 2);
        assert!(store.build_dir("other").exists(), "another process builds");
        drop(lock);
        assert_eq!(store.clean().expect("cleaned"), [store.build_dir("other")]);
        assert!(resumable.exists());
        assert_eq!(store.list().expect("a list"), [kept]);
    }

    #[test]
    fn leaves_out_a_damaged_manifest() {
        let data = tempfile::tempdir().expect("a directory");
        let store = SnapshotStore::open(data.path()).expect("a store");
        let found = publish(&store, "a", "1");
        fs::write(store.path(found.id).join(manifest::FILE_NAME), "{").expect("written");
        assert_eq!(store.list().expect("a list"), []);
        assert_eq!(store.clean().expect("cleaned"), Vec::<PathBuf>::new());
        assert!(matches!(store.get(found.id), Err(StoreError::Manifest { .. })));
    }
}
