//! The real agent on real targets of this machine: behind ssh, behind adb, over links that
//! break. The tests need `cargo xtask setup --boards`.

mod deploying;
mod field;
mod measuring;
mod tls;
