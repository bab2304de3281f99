//! A part of a file as a file of its own.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// `length` bytes of a file from `start` on.
pub(super) struct Window<'a> {
    file: &'a File,
    start: u64,
    length: u64,
    at: u64,
}

impl<'a> Window<'a> {
    pub fn new(file: &'a File, start: u64, length: u64) -> Self {
        Self {
            file,
            start,
            length,
            at: 0,
        }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let left = self.length.saturating_sub(self.at);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        self.file.seek(SeekFrom::Start(self.start + self.at))?;
        let read = self.file.read(&mut out[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_window_is_read_as_a_file_that_ends_where_it_does() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut window = Window::new(&file, 3, 4);
        let mut text = String::new();
        window.read_to_string(&mut text).unwrap();
        assert_eq!(text, "3456");
        assert_eq!(window.seek(SeekFrom::End(-2)).unwrap(), 2);
        text.clear();
        window.read_to_string(&mut text).unwrap();
        assert_eq!(text, "56");
        assert!(window.seek(SeekFrom::Current(-9)).is_err());
    }
}
