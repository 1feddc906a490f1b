//! Prints the manual of the checks of `mod_wsgi-express doctor`, `docs/doctor.md`.

fn main() {
    print!("{}", mod_wsgi_express::doctor_reference());
}
