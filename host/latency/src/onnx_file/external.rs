//! The external data files of a model.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Opens the files that a model refers to, in its folder only.
pub(super) struct ExternalFiles {
    /// The folder of the given path, then that of the real file. In a cache of links into a
    /// store, names are relative to the first, and the files lie in the second.
    folders: Vec<PathBuf>,
    open: HashMap<String, (File, u64)>,
}

/// The location of a tensor's data.
pub(super) struct Extent {
    pub location: String,
    pub offset: u64,
    /// The rest of the file by default.
    pub length: Option<u64>,
}

impl ExternalFiles {
    pub fn new(model: &Path) -> Self {
        let real = model.canonicalize().ok();
        let mut folders = Vec::new();
        for path in [Some(model), real.as_deref()].into_iter().flatten() {
            let parent = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = parent.unwrap_or(Path::new(".")).canonicalize();
            // The folder is readable, since the model was.
            folders.extend(folder.ok().filter(|folder| !folders.contains(folder)));
        }
        Self {
            folders,
            open: HashMap::new(),
        }
    }

    /// Returns the number of bytes of the extent, which the file is checked to have.
    pub fn length(&mut self, extent: &Extent) -> Result<u64, String> {
        let (_, size) = self.file(&extent.location)?;
        let rest = size.checked_sub(extent.offset);
        let length = extent.length.or(rest).unwrap_or(0);
        if rest.is_none_or(|rest| length > rest) {
            return Err(format!(
                "`{}` has {size} bytes, but {length} from {} on are required",
                extent.location, extent.offset
            ));
        }
        Ok(length)
    }

    /// Appends the bytes of the extent.
    pub fn read(&mut self, extent: &Extent, into: &mut Vec<u8>) -> Result<(), String> {
        let length = self.length(extent)?;
        let (file, _) = self.file(&extent.location)?;
        let before = into.len();
        let read = file
            .seek(SeekFrom::Start(extent.offset))
            .and_then(|_| file.take(length).read_to_end(into));
        read.map_err(|error| format!("`{}`: {error}", extent.location))?;
        if (into.len() - before) as u64 == length {
            Ok(())
        } else {
            Err(format!(
                "`{}` became shorter while it was read",
                extent.location
            ))
        }
    }

    fn file(&mut self, location: &str) -> Result<&mut (File, u64), String> {
        if !self.open.contains_key(location) {
            let opened = self.find(location)?;
            self.open.insert(location.to_owned(), opened);
        }
        self.open
            .get_mut(location)
            .ok_or_else(|| format!("`{location}` is not open"))
    }

    fn find(&self, location: &str) -> Result<(File, u64), String> {
        let relative = Path::new(location);
        let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || !relative.components().all(is_inside) {
            return Err(format!(
                "`{location}` lies outside the model's folder, which is refused"
            ));
        }
        let failed = |error: std::io::Error| format!("`{location}`: {error}");
        for folder in &self.folders {
            let path = match folder.join(relative).canonicalize() {
                Ok(path) => path,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            if !self.folders.iter().any(|folder| path.starts_with(folder)) {
                return Err(format!(
                    "`{location}` leads outside the model's folder, which is refused"
                ));
            }
            let file = File::open(&path).map_err(failed)?;
            let meta = file.metadata().map_err(failed)?;
            if !meta.is_file() {
                return Err(format!("`{location}` is not a file"));
            }
            return Ok((file, meta.len()));
        }
        let folders: Vec<String> = self
            .folders
            .iter()
            .map(|f| f.display().to_string())
            .collect();
        Err(format!("`{location}` is not in {}", folders.join(" or ")))
    }
}
