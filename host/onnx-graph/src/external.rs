//! Tensors stored outside the model file.

/// Source of the bytes of externally stored tensors. This crate opens no files: the caller
/// implements this over the model's folder, or passes [`NoExternalData`].
pub trait ExternalData {
    /// Returns `length` bytes of `location` from `offset` on. The location is a relative path
    /// below the model's folder; reading rejects any other. `length` follows from the stated
    /// dimensions of the tensor and may be absurd: check it against the file before allocating.
    ///
    /// # Errors
    /// A message for the user.
    fn load(&self, location: &str, offset: u64, length: u64) -> Result<Vec<u8>, String>;
}

/// Rejects every tensor stored outside the model.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExternalData;

impl ExternalData for NoExternalData {
    fn load(&self, _location: &str, _offset: u64, _length: u64) -> Result<Vec<u8>, String> {
        Err("no data outside the model file was given".into())
    }
}

/// The reason why a location is no path below the model's folder, if it is none.
pub(crate) fn escapes(location: &str) -> Option<&'static str> {
    let drive = location.as_bytes().get(1) == Some(&b':');
    if location.is_empty() || location.contains('\0') {
        Some("is empty or holds a zero byte")
    } else if location.starts_with(['/', '\\']) || drive {
        Some("is an absolute path")
    } else if location.split(['/', '\\']).any(|part| part == "..") {
        Some("leaves the model's folder")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::escapes;

    #[test]
    fn only_relative_paths_below_the_folder_are_loaded() {
        for bad in [
            "",
            "/etc/passwd",
            "\\share",
            "C:x",
            "../x",
            "a/../../x",
            "a\\..\\x",
            "a\0b",
        ] {
            assert!(escapes(bad).is_some(), "{bad:?}");
        }
        for good in ["weights.bin", "./w/a..b", "sub/w.data"] {
            assert!(escapes(good).is_none(), "{good:?}");
        }
    }
}
