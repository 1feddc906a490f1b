//! Prints the manual of the options of mod_wsgi-express, `docs/express.md`.

fn main() {
    print!("{}", mod_wsgi_express::reference());
}
