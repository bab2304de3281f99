//! The upload of a model.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_protocol::{Sha256, Upload};
use sha2::Digest;

use super::{Entry, ModelStore, Partial, Refusal};

impl ModelStore {
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
                Err(Refusal::Invalid(format!(
                    "the upload continues at byte {}, but only {have} were received",
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
}

/// An upload in progress. Dropped before its end, it keeps the bytes received for the next one,
/// unless they are useless.
pub struct Receiving {
    store: Arc<ModelStore>,
    upload: Upload,
    path: PathBuf,
    file: Option<File>,
    received: u64,
    /// Whether the bytes received are worth keeping.
    useful: bool,
}

impl Receiving {
    /// Opens the file; the store holds its first `have` bytes and lists the upload already.
    fn open(store: Arc<ModelStore>, upload: Upload, have: u64) -> Result<Self, Refusal> {
        let path = store.path(upload.sha256, "part");
        // From here on, dropping this value ends the upload.
        let mut receiving = Self {
            store,
            upload,
            path,
            file: None,
            received: have,
            useful: true,
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&receiving.path)
            .and_then(|file| file.set_len(upload.offset_bytes).map(|()| file));
        let file = file.map_err(|error| receiving.failed(&error))?;
        receiving.received = upload.offset_bytes;
        receiving.file = Some(file);
        Ok(receiving)
    }

    /// Returns the refusal after a failure of the storage. On a full disk the bytes received are
    /// dropped to free their space.
    fn failed(&mut self, error: &std::io::Error) -> Refusal {
        let full = [
            ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded,
            ErrorKind::FileTooLarge,
        ];
        if !full.contains(&error.kind()) {
            return Refusal::Storage(error.to_string());
        }
        let free = self.store.space().map_or(0, |space| space.free);
        self.useful = false;
        Refusal::Storage(format!(
            "its disk is full: {free} bytes are free, and {} of {} were received ({error})",
            self.received, self.upload.size_bytes
        ))
    }

    /// Appends a chunk.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let received = self.received.saturating_add(bytes.len() as u64);
        if received > self.upload.size_bytes {
            return Err(Refusal::Invalid(format!(
                "more bytes came than the {} that were announced",
                self.upload.size_bytes
            )));
        }
        let file = self
            .file
            .as_mut()
            .ok_or_else(|| Refusal::Invalid("the upload has ended".into()))?;
        let written = file.write_all(bytes);
        written.map_err(|error| self.failed(&error))?;
        self.received = received;
        Ok(())
    }

    /// Checks the digest and keeps the model. Returns its size.
    pub fn finish(mut self) -> Result<u64, Refusal> {
        if self.received < self.upload.size_bytes {
            return Err(Refusal::Invalid(format!(
                "{} of {} bytes came",
                self.received, self.upload.size_bytes
            )));
        }
        self.file = None;
        let digest = digest_of(&self.path).map_err(|error| self.failed(&error))?;
        self.useful = digest == self.upload.sha256;
        if !self.useful {
            return Err(Refusal::Invalid(format!(
                "the bytes have the digest {digest}, not {}: they changed on the way or in an earlier part",
                self.upload.sha256
            )));
        }
        std::fs::rename(&self.path, self.store.path(digest, "onnx"))
            .map_err(|error| self.failed(&error))?;
        let mut inner = self.store.inner();
        let used = inner.tick();
        let bytes = self.upload.size_bytes;
        inner.uploading.remove(&digest);
        inner.held.entry(digest).or_insert(Entry {
            bytes,
            used,
            pins: 0,
        });
        Ok(bytes)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let mut inner = self.store.inner();
        // A finished upload is no longer listed.
        if inner.uploading.remove(&self.upload.sha256).is_some() {
            let bytes = std::fs::metadata(&self.path).map_or(0, |meta| meta.len());
            if self.useful && bytes > 0 {
                let used = inner.tick();
                let partial = Partial { bytes, used };
                inner.partial.insert(self.upload.sha256, partial);
            } else {
                // A file that cannot be removed goes with the folder.
                let _ = std::fs::remove_file(&self.path);
            }
        }
        drop(inner);
        self.store.ended.notify_waiters();
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
