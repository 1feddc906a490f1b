//! Prints the reference manual of the codes of messages, `docs/errors.md`.

fn main() {
    print!("{}", wsgi_core::codes::reference());
}
