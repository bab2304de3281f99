//! Link arguments of the program that starts without libtorch.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Inline functions of C++ that libtorch has, too, would be exported to it: the linker keeps
    // what is exported, with the libraries that it calls.
    println!("cargo:rustc-link-arg-bin=graphprune=-Wl,--exclude-libs,ALL");
}
