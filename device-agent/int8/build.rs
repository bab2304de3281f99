//! Finds out which extension the processor has, for the kernels' instructions.
//!
//! All Armv7E-M processors have the DSP extension. In Armv8-M it is optional, and so is the vector
//! extension (Helium) in Armv8.1-M; stable compilers do not tell whether they are enabled: there,
//! the features `dsp` and `helium` of this crate say so. Helium's kernels replace those of DSP.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(assembly, dsp, helium, armv8m)");
    let target = env::var("TARGET").unwrap_or_default();
    let is_v8m = target.starts_with("thumbv8m.main");
    let has = |feature: &str| is_v8m && env::var_os(feature).is_some();
    let set = |name: &str| println!("cargo::rustc-cfg={name}");
    if has("CARGO_FEATURE_HELIUM") {
        set("helium");
        set("assembly");
        return;
    }
    let stated = has("CARGO_FEATURE_DSP");
    if stated {
        set("armv8m");
    }
    if stated || target.starts_with("thumbv7em") {
        set("dsp");
        set("assembly");
    }
}
