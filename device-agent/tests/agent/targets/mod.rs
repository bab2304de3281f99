//! The real agent on real targets of this machine: behind ssh, behind adb, with cables that break. They need
//! `cargo xtask setup --boards`.

mod deploying;
mod field;
mod measuring;
mod tls;
