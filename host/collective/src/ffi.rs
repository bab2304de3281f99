//! The interface of `csrc/shim.cpp`.

use std::ffi::{c_char, c_int, c_void};

/// `gp_place` of the shim.
#[repr(C)]
pub(crate) struct RawPlace {
    pub host: *const c_char,
    pub prefix: *const c_char,
    pub interface_name: *const c_char,
    pub own_address: *const c_char,
    pub timeout_ms: i64,
    pub rank: c_int,
    pub size: c_int,
    pub port: u16,
    pub serves: u8,
}

// SAFETY: The declarations are those of the definitions in `csrc/shim.cpp`.
unsafe extern "C" {
    pub(crate) fn gp_open(
        place: *const RawPlace,
        out: *mut *mut c_void,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    pub(crate) fn gp_close(team: *mut c_void);
    pub(crate) fn gp_sum(
        team: *mut c_void,
        tensor: *mut c_void,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    pub(crate) fn gp_differentiable_sum(
        team: *mut c_void,
        tensor: *mut c_void,
        weight: f64,
        out: *mut *mut c_void,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    pub(crate) fn gp_broadcast(
        team: *mut c_void,
        tensor: *mut c_void,
        root: c_int,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    pub(crate) fn gp_set(
        team: *mut c_void,
        key: *const c_char,
        bytes: *const u8,
        length: usize,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    pub(crate) fn gp_wait(
        team: *mut c_void,
        key: *const c_char,
        timeout_ms: i64,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    pub(crate) fn gp_get(
        team: *mut c_void,
        key: *const c_char,
        bytes: *mut u8,
        length: *mut usize,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    pub(crate) fn gp_add(
        team: *mut c_void,
        key: *const c_char,
        amount: i64,
        sum: *mut i64,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
}
