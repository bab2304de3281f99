//! Compiles the shim over libtorch's collective engine.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=csrc");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    if env::var_os("CARGO_CFG_TARGET_OS").is_none_or(|os| os != "linux") {
        return;
    }
    let root = env::var_os("LIBTORCH_INCLUDE").or_else(|| env::var_os("LIBTORCH"));
    let include = PathBuf::from(root.unwrap_or_else(|| "/usr".into())).join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // Warnings of libtorch's headers are none of this project's.
        .warnings(false)
        .define("USE_C10D_GLOO", None)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include("csrc")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("csrc/shim.cpp")
        .compile("graphprune_collective");
}
