//! Makes the Python version known to `cfg`: `Py_3_11`, `Py_3_12` ..., `Py_GIL_DISABLED`.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
