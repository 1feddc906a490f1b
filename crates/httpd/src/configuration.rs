//! The configuration as a whole: the modules that are loaded, and the lines of all files.

use std::iter;

use httpd_sys as sys;

use crate::child::Child;
use crate::server::Server;
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
            for directive in directives() {
                if let Some(name) = text::bytes(directive.directive) {
                    visit(name, text::bytes(directive.args).unwrap_or_default());
                }
            }
        }
    }
}

impl Server {
    /// Returns whether the section of a virtual host has a `ServerName`. (To those that have none, Apache
    /// gives the name of the main server, or one that belongs to their address.)
    #[must_use]
    pub fn has_own_name(&self) -> bool {
        // SAFETY: the tree lives as long as the configuration, and so as its servers, and nobody changes
        // it any more.
        unsafe {
            let server = &*self.as_ptr();
            let place = text::bytes(server.defn_name);
            let section = directives().find(|directive| {
                u32::try_from(directive.line_num) == Ok(server.defn_line_number)
                    && text::bytes(directive.filename) == place
            });
            section.is_none_or(|section| contains(section.first_child, b"ServerName"))
        }
    }
}

/// Returns all directives in the order of the files.
///
/// # Safety
/// The configuration has been read, and lives as long as they are used.
unsafe fn directives() -> impl Iterator<Item = &'static sys::ap_directive_t> {
    // SAFETY: by the caller; links lead to directives of the same tree.
    unsafe {
        let next = |directive: &&sys::ap_directive_t| match directive.first_child.as_ref() {
            None => following(directive).as_ref(),
            inner => inner,
        };
        iter::successors(sys::ap_conftree.as_ref(), next)
    }
}

/// Returns whether a directive, those after it in the same section, or those inside them have a name.
///
/// # Safety
/// The directive is null or of a live tree.
unsafe fn contains(first: *const sys::ap_directive_t, name: &[u8]) -> bool {
    // SAFETY: by the caller; links lead to directives of the same tree.
    unsafe {
        iter::successors(first.as_ref(), |directive| directive.next.as_ref()).any(|directive| {
            text::bytes(directive.directive).is_some_and(|other| other.eq_ignore_ascii_case(name))
                || contains(directive.first_child, name)
        })
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
