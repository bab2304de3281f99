//! The processes that work together, seen from one of them.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::time::Duration;

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, RawPlace};
use crate::{CollectiveError, Place};

/// The longest reason of the engine, in bytes.
const ROOM: usize = 1024;

/// The processes that work together. All of them make the same calls in the same order.
#[derive(Debug)]
pub struct Team {
    /// The shim's object. Not null, and freed once, by `drop`.
    raw: *mut c_void,
    rank: usize,
    size: usize,
}

impl Team {
    /// Meets the other processes at `place`.
    ///
    /// # Errors
    /// [`CollectiveError::Engine`] if they do not all come within [`Place::timeout`].
    pub fn open(place: &Place) -> Result<Self, CollectiveError> {
        let (rank, size) = (place.rank, place.size);
        let text = |text: &str| {
            CString::new(text).map_err(|_| CollectiveError::Environment {
                name: "MASTER_ADDR",
                reason: "holds a zero byte".into(),
            })
        };
        let host = text(&place.host)?;
        let prefix = text(&format!("graphprune/{}", place.attempt))?;
        let interface = text(place.interface.as_deref().unwrap_or_default())?;
        let own = text(if place.is_loopback() { "127.0.0.1" } else { "" })?;
        let raw_place = RawPlace {
            host: host.as_ptr(),
            prefix: prefix.as_ptr(),
            interface_name: interface.as_ptr(),
            own_address: own.as_ptr(),
            timeout_ms: milliseconds(place.timeout),
            rank: number(rank),
            size: number(size),
            port: place.port,
            serves: u8::from(place.serves),
        };
        let mut raw = std::ptr::null_mut();
        let at = (rank, size, "meet");
        answer(at, |message| {
            // SAFETY: the texts outlive the call, and `raw` is written before it returns 0.
            unsafe { ffi::gp_open(&raw const raw_place, &raw mut raw, message, ROOM) }
        })?;
        Ok(Self { raw, rank, size })
    }

    /// Number of this process, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of processes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this process is the first, which owns everything that exists once.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// Replaces the elements of a contiguous host tensor by their sums over all processes.
    ///
    /// # Errors
    /// [`CollectiveError::Engine`] if a process ended or is silent.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), CollectiveError> {
        self.call("sum up with", |message| {
            // SAFETY: `raw` is a live team, and the tensor outlives the call, which waits for the
            // result.
            unsafe { ffi::gp_sum(self.raw, tensor.as_ptr().cast_mut().cast(), message, ROOM) }
        })?;
        Ok(())
    }

    /// Replaces numbers by their sums over all processes. Counts stay exact, up to 2^53.
    ///
    /// # Errors
    /// As [`Team::sum`].
    pub fn sum_numbers(&self, numbers: &mut [f64]) -> Result<(), CollectiveError> {
        let tensor = Tensor::from_slice(numbers);
        self.sum(&tensor)?;
        tensor.copy_data(numbers, numbers.len());
        Ok(())
    }

    /// Returns the sum of a host tensor over all processes. A gradient of the result is summed
    /// over the processes, too: the loss of all is the sum of theirs, each times its `weight`, a
    /// positive number. Every process must make the backward pass while its team lives.
    ///
    /// # Errors
    /// As [`Team::sum`]; in a backward pass, an error of libtorch.
    pub fn differentiable_sum(
        &self,
        tensor: &Tensor,
        weight: f64,
    ) -> Result<Tensor, CollectiveError> {
        let mut out = std::ptr::null_mut();
        self.call("sum up with", |message| {
            // SAFETY: `raw` is a live team, the tensor outlives the call, and `out` is written
            // before it returns 0.
            unsafe {
                let tensor = tensor.as_ptr().cast_mut().cast();
                ffi::gp_differentiable_sum(self.raw, tensor, weight, &raw mut out, message, ROOM)
            }
        })?;
        // SAFETY: `out` is a new tensor that nothing else owns.
        Ok(unsafe { Tensor::from_ptr(out.cast()) })
    }

    /// Replaces the elements of a contiguous host tensor by those of process `root`.
    ///
    /// # Errors
    /// As [`Team::sum`].
    pub fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<(), CollectiveError> {
        self.call("receive from", |message| {
            // SAFETY: as in `sum`.
            unsafe {
                let tensor = tensor.as_ptr().cast_mut().cast();
                ffi::gp_broadcast(self.raw, tensor, number(root), message, ROOM)
            }
        })?;
        Ok(())
    }

    /// Gives all processes the bytes of process `root`; the others' are ignored.
    ///
    /// # Errors
    /// As [`Team::sum`].
    pub fn share_bytes(&self, bytes: &[u8], root: usize) -> Result<Vec<u8>, CollectiveError> {
        let length = Tensor::from_slice(&[bytes.len() as i64]);
        self.broadcast(&length, root)?;
        let length = length.int64_value(&[0]);
        let tensor = if self.rank == root {
            Tensor::from_slice(bytes)
        } else {
            Tensor::zeros([length], (Kind::Uint8, Device::Cpu))
        };
        if length > 0 {
            self.broadcast(&tensor, root)?;
        }
        let mut out = vec![0; length as usize];
        tensor.copy_data(&mut out, length as usize);
        Ok(out)
    }

    /// Sets a key of the store that all processes see.
    ///
    /// # Errors
    /// [`CollectiveError::Engine`] if the store is gone.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), CollectiveError> {
        let key = key_of(key);
        self.call("tell something to", |message| {
            // SAFETY: key and value outlive the call.
            unsafe {
                let (bytes, length) = (value.as_ptr(), value.len());
                ffi::gp_set(self.raw, key.as_ptr(), bytes, length, message, ROOM)
            }
        })?;
        Ok(())
    }

    /// Waits for a key of the store, and returns its value; `None` after `limit`.
    ///
    /// # Errors
    /// [`CollectiveError::Engine`] if the store is gone.
    pub fn wait(&self, key: &str, limit: Duration) -> Result<Option<Vec<u8>>, CollectiveError> {
        const ACTION: &str = "wait for";
        let key = key_of(key);
        let limit = milliseconds(limit);
        let found = self.call(ACTION, |message| {
            // SAFETY: the key outlives the call.
            unsafe { ffi::gp_wait(self.raw, key.as_ptr(), limit, message, ROOM) }
        })?;
        if found != 0 {
            return Ok(None);
        }
        let mut value = vec![0; 256];
        loop {
            let room = value.len();
            let mut length = room;
            self.call(ACTION, |message| {
                // SAFETY: `value` has room for `length` bytes, and no more are written.
                unsafe {
                    let (bytes, length) = (value.as_mut_ptr(), &raw mut length);
                    ffi::gp_get(self.raw, key.as_ptr(), bytes, length, message, ROOM)
                }
            })?;
            value.resize(length, 0);
            if length <= room {
                return Ok(Some(value));
            }
        }
    }

    /// Adds to a number of the store, which begins at 0, and returns the sum: each process that
    /// takes the next item of a queue this way gets another one.
    ///
    /// # Errors
    /// [`CollectiveError::Engine`] if the store is gone.
    pub fn add(&self, key: &str, amount: i64) -> Result<i64, CollectiveError> {
        let key = key_of(key);
        let mut sum = 0;
        self.call("count with", |message| {
            // SAFETY: key and sum outlive the call.
            unsafe { ffi::gp_add(self.raw, key.as_ptr(), amount, &raw mut sum, message, ROOM) }
        })?;
        Ok(sum)
    }

    fn call(
        &self,
        action: &'static str,
        body: impl FnOnce(*mut c_char) -> c_int,
    ) -> Result<c_int, CollectiveError> {
        answer((self.rank, self.size, action), body)
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        // SAFETY: `raw` comes from `gp_open` and is freed here only.
        unsafe { ffi::gp_close(self.raw) }
    }
}

/// Calls the shim with room for a reason, and turns a failure into an error with it.
fn answer(
    (rank, size, action): (usize, usize, &'static str),
    body: impl FnOnce(*mut c_char) -> c_int,
) -> Result<c_int, CollectiveError> {
    let mut message = [0u8; ROOM];
    let code = body(message.as_mut_ptr().cast());
    if code >= 0 {
        return Ok(code);
    }
    let reason = CStr::from_bytes_until_nul(&message).unwrap_or_default();
    Err(CollectiveError::Engine {
        rank,
        size,
        action,
        reason: first_sentence(&reason.to_string_lossy()),
    })
}

/// The engine's reason without the place in its source, its stack and its advice.
fn first_sentence(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    let place = |text: &str| text.starts_with('[') && text.contains(".cc:");
    let line = match line.split_once("] ") {
        Some((head, rest)) if place(head) => rest,
        _ => line,
    };
    let end = [". This may", ". Exception raised"];
    let cut = end.iter().filter_map(|end| line.find(end)).min();
    line[..cut.unwrap_or(line.len())]
        .trim_end_matches('.')
        .to_owned()
}

fn key_of(key: &str) -> CString {
    let bytes = key.bytes().filter(|&byte| byte != 0).collect::<Vec<u8>>();
    CString::new(bytes).unwrap_or_default()
}

fn number(value: usize) -> c_int {
    c_int::try_from(value).unwrap_or(c_int::MAX)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis())
        .unwrap_or(i64::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_reason_is_its_first_sentence() {
        let check = |reason: &str, expected: &str| assert_eq!(first_sentence(reason), expected);
        check(
            "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4. This may indicate x",
            "Connection closed by peer [127.0.0.1]:4",
        );
        check(
            "wait timeout after 4000ms, keys: /a\nstack",
            "wait timeout after 4000ms, keys: /a",
        );
    }
}
