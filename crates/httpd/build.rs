//! The unit tests run without a server: they link APR itself, and have stand-ins for Apache's own
//! functions.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in ["-lapr-1", "-laprutil-1"] {
        println!("cargo::rustc-link-arg={argument}");
    }
}
