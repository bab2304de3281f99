//! The models the agent holds: files named by their digest in a private folder, the oldest leaving when it is full.

mod receiving;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_protocol::{Sha256, Upload};
use tokio::sync::Notify;

pub use receiving::Receiving;

use crate::folder::{Folder, Space};

/// Bytes of the disk that no model may take: workers write there too. On a small disk it is a sixteenth.
const RESERVE: u64 = 32 * 1024 * 1024;

/// Why a model is not taken.
#[derive(Debug)]
pub enum Refusal {
    /// The caller sent what does not fit together.
    Wrong(String),
    /// The device has no room or its storage fails.
    Storage(String),
    /// Someone else sends the same model.
    Busy,
}

/// The folder and what is in it.
pub struct ModelStore {
    folder: Folder,
    limit_bytes: u64,
    inner: Mutex<Inner>,
    /// Told whenever an upload ends.
    ended: Notify,
}

#[derive(Default)]
struct Inner {
    held: HashMap<Sha256, Entry>,
    /// Uploads under way with the sizes announced.
    uploading: HashMap<Sha256, u64>,
    /// What is left of uploads that broke off.
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

/// What the store holds.
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

    /// Of these, what may go at any time.
    fn loose_bytes(&self) -> u64 {
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

    /// Removes what workers left; see [`Folder::clear_work`].
    pub fn clear_work(&self) {
        self.folder.clear_work();
    }

    /// The folder workers run in.
    pub fn work_folder(&self) -> PathBuf {
        self.folder.work()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: Sha256, ending: &str) -> PathBuf {
        self.folder.path().join(format!("{digest}.{ending}"))
    }

    /// The most bytes that all models may take.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What is held.
    pub fn stock(&self) -> Stock {
        let inner = self.inner();
        Stock {
            models: u32::try_from(inner.held.len()).unwrap_or(u32::MAX),
            bytes: inner.held.values().map(|entry| entry.bytes).sum(),
        }
    }

    /// Whether a model is held, and if not, how much of it.
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

    /// Waits until an upload ends, if it does so after the call.
    pub fn upload_ended(&self) -> impl Future<Output = ()> + '_ {
        self.ended.notified()
    }

    /// Begins or continues an upload.
    pub fn begin(self: &Arc<Self>, upload: Upload) -> Result<Receiving, Refusal> {
        let have = {
            let mut inner = self.inner();
            if inner.uploading.contains_key(&upload.sha256) {
                return Err(Refusal::Busy);
            }
            let partial = inner.partial.remove(&upload.sha256);
            let have = partial.as_ref().map_or(0, |partial| partial.bytes);
            let checked = if upload.offset_bytes > have {
                Err(Refusal::Wrong(format!(
                    "the upload goes on at byte {}, but only {have} are here",
                    upload.offset_bytes
                )))
            } else {
                self.make_room(&mut inner, &upload)
            };
            if let Err(refusal) = checked {
                inner.partial.extend(partial.map(|p| (upload.sha256, p)));
                return Err(refusal);
            }
            inner.uploading.insert(upload.sha256, upload.size_bytes);
            have
        };
        Receiving::open(Arc::clone(self), upload, have)
    }

    /// Lets what was used longest ago go until an upload fits, into the limit and onto the disk. Nothing goes for one that
    /// cannot fit.
    fn make_room(&self, inner: &mut Inner, upload: &Upload) -> Result<(), Refusal> {
        let fixed = inner.bytes() - inner.loose_bytes();
        if fixed.saturating_add(upload.size_bytes) > self.limit_bytes {
            return Err(Refusal::Storage(format!(
                "it has {} bytes, all models together may have {}, and those in use or under way have {fixed}",
                upload.size_bytes, self.limit_bytes
            )));
        }
        while inner.bytes().saturating_add(upload.size_bytes) > self.limit_bytes
            && self.let_go(inner)
        {}
        let missing = upload.size_bytes - upload.offset_bytes;
        loop {
            let space = self.space()?;
            let reserve = RESERVE.min(space.size / 16);
            let promised = self.promised(inner);
            let wanted = missing.saturating_add(reserve).saturating_add(promised);
            if wanted <= space.free {
                return Ok(());
            }
            if wanted > space.free.saturating_add(inner.loose_bytes()) || !self.let_go(inner) {
                return Err(Refusal::Storage(format!(
                    "its disk has {} bytes free; {missing} are to come, {promised} were promised to other models and {reserve} stay free",
                    space.free
                )));
            }
        }
    }

    fn space(&self) -> Result<Space, Refusal> {
        Space::at(self.folder.path())
            .map_err(|error| Refusal::Storage(format!("asking for free space: {error}")))
    }

    /// Bytes that uploads under way have still to write.
    fn promised(&self, inner: &Inner) -> u64 {
        let left = inner.uploading.iter().map(|(&digest, size)| {
            let part = std::fs::metadata(self.path(digest, "part"));
            size.saturating_sub(part.map_or(0, |meta| meta.len()))
        });
        left.sum()
    }

    /// Removes what is left of a broken upload or, if there is none, a model that nobody uses. Says whether there was one.
    fn let_go(&self, inner: &mut Inner) -> bool {
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

    /// The file of a model, kept from leaving until the pin is dropped; `None` if it is not held.
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
    fn an_upload_that_broke_off_goes_on_where_it_was() {
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
        let store = store(100);
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
        let store = store(10);
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
    fn what_is_left_of_uploads_counts_and_leaves_before_models_do() {
        let store = store(10);
        put(&store, &[1; 4]);
        let mut broken = store.begin(upload(&[2; 6], 0)).unwrap();
        broken.chunk(&[2; 5]).unwrap();
        assert!(
            matches!(store.begin(upload(&[3; 5], 0)), Err(Refusal::Storage(_))),
            "the announced bytes of an upload under way count"
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
    fn models_in_use_are_not_overrun() {
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
