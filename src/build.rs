//! The build script: the program gets a fixed address, so that its start needs no relocations.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    // A static program for musl is linked with other objects.
    let is_gnu = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if is_gnu && !flags.contains("relocation-model") {
        println!("cargo:rustc-link-arg-bin=runlog=-no-pie");
    }
}
