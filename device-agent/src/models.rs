//! The models the agent holds: files in a private folder, named by their digests. When it is
//! full, the least recently used one is evicted.

mod receiving;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_protocol::{Sha256, Upload};
use tokio::sync::Notify;

pub use receiving::Receiving;

use crate::folder::{Folder, Space};

/// Bytes of the disk that models leave free, because workers write there too. On a small disk it
/// is a sixteenth.
const RESERVE: u64 = 32 * 1024 * 1024;

/// Why a model is not accepted.
#[derive(Debug)]
pub enum Refusal {
    /// The upload contradicts itself or the store.
    Invalid(String),
    /// The device lacks space or its storage fails.
    Storage(String),
    /// Another client is uploading the same model.
    Busy,
}

/// The folder and its models.
pub struct ModelStore {
    folder: Folder,
    limit_bytes: u64,
    inner: Mutex<Inner>,
    /// Notified at the end of every upload.
    ended: Notify,
}

#[derive(Default)]
struct Inner {
    held: HashMap<Sha256, Entry>,
    /// Uploads in progress with their announced sizes.
    uploading: HashMap<Sha256, u64>,
    /// The received parts of interrupted uploads.
    partial: HashMap<Sha256, Partial>,
    clock: u64,
}

struct Entry {
    bytes: u64,
    used: u64,
    pins: u32,
}

struct Partial {
    bytes: u64,
    used: u64,
}

/// The contents of the store.
#[derive(Clone, Copy, Debug)]
pub struct Stock {
    /// Models.
    pub models: u32,
    /// Their bytes.
    pub bytes: u64,
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn bytes(&self) -> u64 {
        let held = self.held.values().map(|entry| entry.bytes);
        let partial = self.partial.values().map(|partial| partial.bytes);
        let uploading = self.uploading.values().copied();
        held.chain(partial).chain(uploading).sum()
    }

    /// Returns the bytes among them that may be evicted.
    fn evictable_bytes(&self) -> u64 {
        let free = self.held.values().filter(|entry| entry.pins == 0);
        let partial = self.partial.values().map(|partial| partial.bytes);
        free.map(|entry| entry.bytes).chain(partial).sum()
    }
}

impl ModelStore {
    /// Makes the private folder in `place` for models of at most `limit_bytes` together.
    pub fn new(place: &Path, limit_bytes: u64) -> anyhow::Result<Self> {
        Ok(Self {
            folder: Folder::new(place)?,
            limit_bytes,
            inner: Mutex::default(),
            ended: Notify::new(),
        })
    }

    /// Removes the folder now; see [`Folder::clear`].
    pub fn clear(&self) {
        self.folder.clear();
    }

    /// Removes the files that workers left; see [`Folder::clear_work`].
    pub fn clear_work(&self) {
        self.folder.clear_work();
    }

    /// Returns the folder workers run in.
    pub fn work_folder(&self) -> PathBuf {
        self.folder.work()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: Sha256, ending: &str) -> PathBuf {
        self.folder.path().join(format!("{digest}.{ending}"))
    }

    /// Returns the maximum bytes of all models together.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Returns the number and size of the models held.
    pub fn stock(&self) -> Stock {
        let inner = self.inner();
        Stock {
            models: u32::try_from(inner.held.len()).unwrap_or(u32::MAX),
            bytes: inner.held.values().map(|entry| entry.bytes).sum(),
        }
    }

    /// Whether a model is held, and if not, how many bytes of it.
    pub fn held(&self, digest: Sha256) -> (bool, u64) {
        let mut inner = self.inner();
        let used = inner.tick();
        if let Some(entry) = inner.held.get_mut(&digest) {
            entry.used = used;
            return (true, 0);
        }
        let partial = inner.partial.get_mut(&digest).map_or(0, |partial| {
            partial.used = used;
            partial.bytes
        });
        (false, partial)
    }

    /// Waits for the next upload that ends after the call.
    pub fn upload_ended(&self) -> impl Future<Output = ()> + '_ {
        self.ended.notified()
    }

    /// Evicts the least recently used until an upload fits the limit and the disk. Nothing is
    /// evicted for one that cannot fit.
    fn make_room(&self, inner: &mut Inner, upload: &Upload) -> Result<(), Refusal> {
        let fixed = inner.bytes() - inner.evictable_bytes();
        if fixed.saturating_add(upload.size_bytes) > self.limit_bytes {
            return Err(Refusal::Storage(format!(
                "it has {} bytes, all models together may have {}, and those in use or in upload have {fixed}",
                upload.size_bytes, self.limit_bytes
            )));
        }
        while inner.bytes().saturating_add(upload.size_bytes) > self.limit_bytes
            && self.evict(inner)
        {}
        let missing = upload.size_bytes - upload.offset_bytes;
        loop {
            let space = self.space()?;
            let reserve = RESERVE.min(space.size / 16);
            let reserved = self.reserved(inner);
            let needed = missing.saturating_add(reserve).saturating_add(reserved);
            if needed <= space.free {
                return Ok(());
            }
            if needed > space.free.saturating_add(inner.evictable_bytes()) || !self.evict(inner) {
                return Err(Refusal::Storage(format!(
                    "its disk has {} bytes free; {missing} are to come, {reserved} are reserved for other models and {reserve} stay free",
                    space.free
                )));
            }
        }
    }

    fn space(&self) -> Result<Space, Refusal> {
        Space::at(self.folder.path())
            .map_err(|error| Refusal::Storage(format!("asking for free space: {error}")))
    }

    /// Returns the bytes that uploads in progress have yet to write.
    fn reserved(&self, inner: &Inner) -> u64 {
        let left = inner.uploading.iter().map(|(&digest, size)| {
            let part = std::fs::metadata(self.path(digest, "part"));
            size.saturating_sub(part.map_or(0, |meta| meta.len()))
        });
        left.sum()
    }

    /// Removes the part of an interrupted upload or, if there is none, an unused model. Returns
    /// whether there was one.
    fn evict(&self, inner: &mut Inner) -> bool {
        // A file that cannot be removed goes with the folder.
        let oldest = inner.partial.iter().min_by_key(|(_, partial)| partial.used);
        if let Some((&digest, _)) = oldest {
            inner.partial.remove(&digest);
            let _ = std::fs::remove_file(self.path(digest, "part"));
            return true;
        }
        let free = inner.held.iter().filter(|(_, entry)| entry.pins == 0);
        let Some((&digest, _)) = free.min_by_key(|(_, entry)| entry.used) else {
            return false;
        };
        inner.held.remove(&digest);
        let _ = std::fs::remove_file(self.path(digest, "onnx"));
        true
    }

    /// Returns the file of a model, which is not evicted before the pin is dropped; `None` if
    /// the model is not held.
    pub fn pin(self: &Arc<Self>, digest: Sha256) -> Option<Pin> {
        let mut inner = self.inner();
        let used = inner.tick();
        let entry = inner.held.get_mut(&digest)?;
        entry.used = used;
        entry.pins += 1;
        Some(Pin {
            store: Arc::clone(self),
            digest,
            path: self.path(digest, "onnx"),
        })
    }
}

/// A model that is not evicted before this is dropped.
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

    fn store(limit_bytes: u64) -> Arc<ModelStore> {
        Arc::new(ModelStore::new(&std::env::temp_dir(), limit_bytes).unwrap())
    }

    fn put(store: &Arc<ModelStore>, bytes: &[u8]) {
        let mut receiving = store.begin(upload(bytes, 0)).unwrap();
        receiving.chunk(bytes).unwrap();
        assert_eq!(receiving.finish().unwrap(), bytes.len() as u64);
    }

    #[test]
    fn an_interrupted_upload_continues_where_it_was() {
        let store = store(100);
        let bytes = b"0123456789";
        let mut first = store.begin(upload(bytes, 0)).unwrap();
        first.chunk(&bytes[..4]).unwrap();
        assert!(
            matches!(store.begin(upload(bytes, 0)), Err(Refusal::Busy)),
            "two at once"
        );
        drop(first);
        assert_eq!(store.held(Sha256::of(bytes)), (false, 4));
        assert!(
            matches!(store.begin(upload(bytes, 5)), Err(Refusal::Invalid(_))),
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
    fn bytes_that_contradict_their_header_are_not_kept() {
        let store = store(100);
        let mut other = store.begin(upload(b"abcd", 0)).unwrap();
        other.chunk(b"abcx").unwrap();
        assert!(matches!(other.finish(), Err(Refusal::Invalid(_))));
        assert_eq!(store.held(Sha256::of(b"abcd")), (false, 0));
        let mut long = store.begin(upload(b"abcd", 0)).unwrap();
        assert!(matches!(long.chunk(b"abcde"), Err(Refusal::Invalid(_))));
        let mut short = store.begin(upload(b"xyz", 0)).unwrap();
        short.chunk(b"xy").unwrap();
        assert!(matches!(short.finish(), Err(Refusal::Invalid(_))));
        assert!(matches!(
            store.begin(upload(&[1; 101], 0)),
            Err(Refusal::Storage(_))
        ));
    }

    #[test]
    fn the_least_recently_used_model_is_evicted_unless_it_is_in_use() {
        let store = store(10);
        let (a, b, c, d) = ([1; 4], [2; 4], [3; 4], [4; 4]);
        put(&store, &a);
        put(&store, &b);
        let pin = store.pin(Sha256::of(&a)).unwrap();
        assert!(store.held(Sha256::of(&b)).0);
        put(&store, &c);
        assert!(store.held(Sha256::of(&a)).0, "in use");
        assert!(!store.held(Sha256::of(&b)).0, "evicted");
        drop(pin);
        store.held(Sha256::of(&c));
        put(&store, &d);
        assert!(!store.held(Sha256::of(&a)).0);
        assert!(store.held(Sha256::of(&c)).0);
    }

    #[test]
    fn parts_of_uploads_count_and_are_evicted_before_models() {
        let store = store(10);
        put(&store, &[1; 4]);
        let mut broken = store.begin(upload(&[2; 6], 0)).unwrap();
        broken.chunk(&[2; 5]).unwrap();
        assert!(
            matches!(store.begin(upload(&[3; 5], 0)), Err(Refusal::Storage(_))),
            "the announced bytes of an upload in progress count"
        );
        drop(broken);
        assert_eq!(store.held(Sha256::of(&[2; 6])), (false, 5));
        put(&store, &[3; 5]);
        assert_eq!(store.held(Sha256::of(&[2; 6])), (false, 0));
        assert!(store.held(Sha256::of(&[1; 4])).0);
        let stock = store.stock();
        assert_eq!((stock.models, stock.bytes), (2, 9));
    }

    #[test]
    fn models_in_use_are_not_evicted() {
        let store = store(10);
        put(&store, &[1; 8]);
        let pin = store.pin(Sha256::of(&[1; 8])).unwrap();
        assert!(
            matches!(store.begin(upload(&[2; 8], 0)), Err(Refusal::Storage(text)) if text.contains("in use"))
        );
        drop(pin);
        put(&store, &[2; 8]);
    }
}
