//! Compiles the protocol's description into Rust, without an installed `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "proto/graphprune_agent.proto";
    println!("cargo::rerun-if-changed={proto}");
    let descriptors = protox::compile([proto], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
