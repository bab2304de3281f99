//! The shim's object file holds no table of virtual functions of the types whose headers are
//! written here: the linker would take it in place of libtorch's.
#![cfg(target_os = "linux")]

use std::path::Path;

#[test]
fn the_shim_defines_no_virtual_table_of_gloo() {
    let path = Path::new(env!("OUT_DIR")).join("libgraphprune_collective.a");
    let archive = std::fs::read(path).unwrap();
    let holds = |name: &str| {
        let mut windows = archive.windows(name.len());
        windows.any(|window| window == name.as_bytes())
    };
    // The search works: the shim's own names are found.
    assert!(holds("gp_sum"));
    for table in ["_ZTVN4gloo", "_ZTVN5c10d16ProcessGroupGloo"] {
        assert!(!holds(table), "{table}");
    }
}
