//! Prints the reference manual of the directives, `docs/directives.md`.

fn main() {
    print!("{}", wsgi_core::directive::reference());
}
