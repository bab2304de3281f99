//! The models the agent holds: files named by their digest in a private folder, the oldest leaving when it is full.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_protocol::{Sha256, Upload};
use nix::fcntl::{Flock, FlockArg};
use sha2::Digest;
use tempfile::TempDir;

const PREFIX: &str = "graphprune-agent-";
const LOCK: &str = "lock";

/// Why a model is not taken.
#[derive(Debug)]
pub enum Refusal {
    /// The caller sent what does not fit together.
    Wrong(String),
    /// The device has no room or its storage fails.
    Storage(String),
}

/// The folder and what is in it.
pub struct ModelStore {
    // Removed, with all it holds, when the agent ends.
    folder: TempDir,
    // Held as long as the folder is in use: what nobody holds was left by an agent that was killed.
    _lock: Flock<File>,
    limit_bytes: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    held: HashMap<Sha256, Entry>,
    uploading: HashSet<Sha256>,
    clock: u64,
}

struct Entry {
    bytes: u64,
    used: u64,
    pins: u32,
}

impl ModelStore {
    /// Makes the private folder (only its owner may enter) under the system's folder for temporary files, and clears away
    /// those of agents that were killed.
    pub fn new(limit_bytes: u64) -> std::io::Result<Self> {
        let place = std::env::temp_dir();
        remove_abandoned(&place);
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(private)
            .tempdir_in(place)?;
        // Named `lock` only once it is held, lest another agent find it free in between.
        let unnamed = folder.path().join("unnamed");
        let lock = Flock::lock(File::create_new(&unnamed)?, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| std::io::Error::from(errno))?;
        std::fs::rename(unnamed, folder.path().join(LOCK))?;
        std::fs::create_dir(folder.path().join("work"))?;
        Ok(Self {
            folder,
            _lock: lock,
            limit_bytes,
            inner: Mutex::default(),
        })
    }

    /// Removes the folder now. Tasks of a server that ends may hold this store until the process is gone, and then nobody
    /// drops it any more.
    pub fn clear(&self) {
        remove(self.folder.path());
    }

    /// The folder workers run in.
    pub fn work_folder(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: Sha256, ending: &str) -> PathBuf {
        self.folder.path().join(format!("{digest}.{ending}"))
    }

    /// Whether a model is held, and if not, how much of it.
    pub fn held(&self, digest: Sha256) -> (bool, u64) {
        let mut inner = self.inner();
        inner.clock += 1;
        let clock = inner.clock;
        if let Some(entry) = inner.held.get_mut(&digest) {
            entry.used = clock;
            return (true, 0);
        }
        let partial = std::fs::metadata(self.path(digest, "part")).map_or(0, |meta| meta.len());
        (false, partial)
    }

    /// Begins or continues an upload.
    pub fn begin(self: &Arc<Self>, upload: Upload) -> Result<Receiving, Refusal> {
        if upload.size_bytes > self.limit_bytes {
            return Err(Refusal::Storage(format!(
                "the model has {} bytes, all models together may have {}",
                upload.size_bytes, self.limit_bytes
            )));
        }
        let path = self.path(upload.sha256, "part");
        {
            let mut inner = self.inner();
            if !inner.uploading.insert(upload.sha256) {
                return Err(Refusal::Wrong(format!(
                    "model {} is being sent already",
                    upload.sha256
                )));
            }
            self.make_room(&mut inner, upload.size_bytes);
        }
        // From here on dropping this value ends the upload.
        let mut receiving = Receiving {
            store: Arc::clone(self),
            upload,
            path,
            file: None,
            received: upload.offset_bytes,
        };
        let have = std::fs::metadata(&receiving.path).map_or(0, |meta| meta.len());
        if upload.offset_bytes > have {
            return Err(Refusal::Wrong(format!(
                "the upload goes on at byte {}, but only {have} are here",
                upload.offset_bytes
            )));
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&receiving.path)
            .and_then(|file| file.set_len(upload.offset_bytes).map(|()| file))
            .map_err(|error| Refusal::Storage(error.to_string()))?;
        receiving.file = Some(file);
        Ok(receiving)
    }

    /// Lets the models go that were used longest ago until `bytes` more fit.
    fn make_room(&self, inner: &mut Inner, bytes: u64) {
        let mut held: u64 = inner.held.values().map(|entry| entry.bytes).sum();
        while held.saturating_add(bytes) > self.limit_bytes {
            let oldest = inner
                .held
                .iter()
                .filter(|(_, e)| e.pins == 0)
                .min_by_key(|(_, e)| e.used)
                .map(|(&d, _)| d);
            let Some(digest) = oldest else { break };
            if let Some(entry) = inner.held.remove(&digest) {
                held -= entry.bytes;
            }
            // A file that cannot be removed goes with the folder.
            let _ = std::fs::remove_file(self.path(digest, "onnx"));
        }
    }

    /// The file of a model, kept from leaving until the pin is dropped; `None` if it is not held.
    pub fn pin(self: &Arc<Self>, digest: Sha256) -> Option<Pin> {
        let mut inner = self.inner();
        inner.clock += 1;
        let clock = inner.clock;
        let entry = inner.held.get_mut(&digest)?;
        entry.used = clock;
        entry.pins += 1;
        Some(Pin {
            store: Arc::clone(self),
            digest,
            path: self.path(digest, "onnx"),
        })
    }
}

/// A model that stays while this lives.
pub struct Pin {
    store: Arc<ModelStore>,
    digest: Sha256,
    /// Its file.
    pub path: PathBuf,
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(entry) = self.store.inner().held.get_mut(&self.digest) {
            entry.pins = entry.pins.saturating_sub(1);
        }
    }
}

/// An upload under way. Dropped before its end, what arrived stays for the next.
pub struct Receiving {
    store: Arc<ModelStore>,
    upload: Upload,
    path: PathBuf,
    file: Option<File>,
    received: u64,
}

impl Receiving {
    /// Takes the next bytes.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.received = self.received.saturating_add(bytes.len() as u64);
        if self.received > self.upload.size_bytes {
            return Err(Refusal::Wrong(format!(
                "more than the {} bytes that were announced came",
                self.upload.size_bytes
            )));
        }
        let file = self
            .file
            .as_mut()
            .ok_or_else(|| Refusal::Wrong("the upload has ended".into()))?;
        file.write_all(bytes)
            .map_err(|error| Refusal::Storage(error.to_string()))
    }

    /// Checks the digest and keeps the model. Returns its size.
    pub fn finish(mut self) -> Result<u64, Refusal> {
        let storage = |error: std::io::Error| Refusal::Storage(error.to_string());
        if self.received < self.upload.size_bytes {
            return Err(Refusal::Wrong(format!(
                "{} of {} bytes came",
                self.received, self.upload.size_bytes
            )));
        }
        self.file = None;
        let found = digest_of(&self.path).map_err(storage)?;
        if found != self.upload.sha256 {
            std::fs::remove_file(&self.path).map_err(storage)?;
            return Err(Refusal::Wrong(format!(
                "the bytes have the digest {found}, not {}: they changed on the way or in an earlier part",
                self.upload.sha256
            )));
        }
        std::fs::rename(&self.path, self.store.path(found, "onnx")).map_err(storage)?;
        let mut inner = self.store.inner();
        inner.clock += 1;
        let used = inner.clock;
        let bytes = self.upload.size_bytes;
        inner.held.entry(found).or_insert(Entry {
            bytes,
            used,
            pins: 0,
        });
        Ok(bytes)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.store.inner().uploading.remove(&self.upload.sha256);
    }
}

fn digest_of(path: &Path) -> std::io::Result<Sha256> {
    let mut file = File::open(path)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256(hasher.finalize().into())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Removes an agent's folder, the lock last: a removal that is cut short is then finished by the next agent. Errors are of no
/// account for the same reason.
fn remove(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name() != LOCK) {
        let path = entry.path();
        let _ = if path.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// Removes folders whose lock nobody holds. What cannot be looked at belongs to someone else and stays.
fn remove_abandoned(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(lock) = OpenOptions::new().write(true).open(entry.path().join(LOCK)) else {
            continue;
        };
        if Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok() {
            remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(bytes: &[u8], offset_bytes: u64) -> Upload {
        Upload {
            sha256: Sha256::of(bytes),
            size_bytes: bytes.len() as u64,
            offset_bytes,
        }
    }

    fn put(store: &Arc<ModelStore>, bytes: &[u8]) {
        let mut receiving = store.begin(upload(bytes, 0)).unwrap();
        receiving.chunk(bytes).unwrap();
        assert_eq!(receiving.finish().unwrap(), bytes.len() as u64);
    }

    #[test]
    fn an_upload_that_broke_off_goes_on_where_it_was() {
        let store = Arc::new(ModelStore::new(100).unwrap());
        let bytes = b"0123456789";
        let mut first = store.begin(upload(bytes, 0)).unwrap();
        first.chunk(&bytes[..4]).unwrap();
        assert!(
            matches!(store.begin(upload(bytes, 0)), Err(Refusal::Wrong(_))),
            "two at once"
        );
        drop(first);
        assert_eq!(store.held(Sha256::of(bytes)), (false, 4));
        assert!(
            matches!(store.begin(upload(bytes, 5)), Err(Refusal::Wrong(_))),
            "a gap"
        );
        let mut second = store.begin(upload(bytes, 4)).unwrap();
        second.chunk(&bytes[4..]).unwrap();
        second.finish().unwrap();
        assert_eq!(store.held(Sha256::of(bytes)), (true, 0));
        assert_eq!(
            std::fs::read(&store.pin(Sha256::of(bytes)).unwrap().path).unwrap(),
            bytes
        );
    }

    #[test]
    fn bytes_that_are_not_what_was_announced_are_not_kept() {
        let store = Arc::new(ModelStore::new(100).unwrap());
        let mut wrong = store.begin(upload(b"abcd", 0)).unwrap();
        wrong.chunk(b"abcx").unwrap();
        assert!(matches!(wrong.finish(), Err(Refusal::Wrong(_))));
        assert_eq!(store.held(Sha256::of(b"abcd")), (false, 0));
        let mut long = store.begin(upload(b"abcd", 0)).unwrap();
        assert!(matches!(long.chunk(b"abcde"), Err(Refusal::Wrong(_))));
        let mut short = store.begin(upload(b"xyz", 0)).unwrap();
        short.chunk(b"xy").unwrap();
        assert!(matches!(short.finish(), Err(Refusal::Wrong(_))));
        assert!(matches!(
            store.begin(upload(&[1; 101], 0)),
            Err(Refusal::Storage(_))
        ));
    }

    #[test]
    fn when_full_the_model_used_longest_ago_leaves_unless_it_is_in_use() {
        let store = Arc::new(ModelStore::new(10).unwrap());
        let (a, b, c, d) = ([1; 4], [2; 4], [3; 4], [4; 4]);
        put(&store, &a);
        put(&store, &b);
        let pin = store.pin(Sha256::of(&a)).unwrap();
        assert!(store.held(Sha256::of(&b)).0);
        put(&store, &c);
        assert!(store.held(Sha256::of(&a)).0, "in use");
        assert!(!store.held(Sha256::of(&b)).0, "it had to leave");
        drop(pin);
        store.held(Sha256::of(&c));
        put(&store, &d);
        assert!(!store.held(Sha256::of(&a)).0);
        assert!(store.held(Sha256::of(&c)).0);
    }

    #[test]
    fn the_folder_is_private_and_goes_with_the_store() {
        let store = ModelStore::new(1).unwrap();
        let folder = store.folder.path().to_owned();
        assert_eq!(
            std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        drop(store);
        assert!(!folder.exists());
    }

    #[test]
    fn a_folder_left_by_a_killed_agent_is_cleared_away_and_one_in_use_is_not() {
        let place = tempfile::tempdir().unwrap();
        let dead = place.path().join("graphprune-agent-dead");
        let alive = place.path().join("graphprune-agent-alive");
        let young = place.path().join("graphprune-agent-young");
        for folder in [&dead, &alive, &young] {
            std::fs::create_dir(folder).unwrap();
        }
        File::create(dead.join(LOCK)).unwrap();
        let file = File::create(alive.join(LOCK)).unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, e)| e)
            .unwrap();
        remove_abandoned(place.path());
        assert!(!dead.exists() && alive.exists() && young.exists());
        drop(lock);
    }
}
