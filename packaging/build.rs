//! What the linker is told. The addresses that are only known at the start are kept in the packed form (DT_RELR, glibc
//! 2.36), which is a megabyte less of the agent's memory.

fn main() {
    println!("cargo::rerun-if-changed=packaging/build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
