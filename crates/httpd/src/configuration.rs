//! The configuration as a whole: the modules that are loaded, and the lines of all files.

use std::iter;

use httpd_sys as sys;

use crate::child::Child;
use crate::text;

impl Child<'_> {
    /// Returns the names of all loaded modules, by custom those of their source files.
    pub fn modules(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: the list of modules does not change in a child; records have names that live as
        // long as the modules.
        unsafe {
            iter::successors(sys::ap_top_module.as_ref(), |module| module.next.as_ref())
                .filter_map(|module| text::bytes(module.name))
        }
    }

    /// Calls `visit` with the name and the arguments of every directive outside `.htaccess` files,
    /// sections included, as they stand where they apply (included files, macros and variables are
    /// expanded).
    pub fn visit_directives(&self, mut visit: impl FnMut(&[u8], &[u8])) {
        // SAFETY: the tree lives as long as the configuration, which a child keeps, and nobody
        // changes it any more.
        unsafe {
            let mut next = sys::ap_conftree.cast_const();
            while let Some(directive) = next.as_ref() {
                if let Some(name) = text::bytes(directive.directive) {
                    visit(name, text::bytes(directive.args).unwrap_or_default());
                }
                next = if directive.first_child.is_null() {
                    following(directive)
                } else {
                    directive.first_child
                };
            }
        }
    }
}

/// Returns the next directive that is not inside `directive`, or null.
///
/// # Safety
/// The directive is of a live tree.
unsafe fn following(directive: &sys::ap_directive_t) -> *const sys::ap_directive_t {
    let mut directive = directive;
    // SAFETY: by the caller; links lead to directives of the same tree.
    unsafe {
        while directive.next.is_null() {
            let Some(parent) = directive.parent.as_ref() else { break };
            directive = parent;
        }
    }
    directive.next
}
