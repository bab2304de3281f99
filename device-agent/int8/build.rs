//! Finds out whether the processor has the DSP extension.
//!
//! All Armv7E-M processors have it. In Armv8-M it is optional, and stable compilers do not tell
//! whether it is enabled: there, the feature `dsp` of this crate says so.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(dsp, armv8m)");
    let target = env::var("TARGET").unwrap_or_default();
    let stated = env::var_os("CARGO_FEATURE_DSP").is_some() && target.starts_with("thumbv8m.main");
    if stated {
        println!("cargo::rustc-cfg=armv8m");
    }
    if stated || target.starts_with("thumbv7em") {
        println!("cargo::rustc-cfg=dsp");
    }
}
