//! Apache reads its configuration twice when it starts, and unloads modules in between. Rust's
//! standard library does not expect to be unloaded, so the module stays (and what it keeps in
//! statics is the same afterwards).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
