//! What several messages say of processes: their account and environment, and the scripts in them.

use super::record::record;

/// An environment variable: name and value.
pub type Variable = (Box<[u8]>, Box<[u8]>);

record! {
    /// A user and groups.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Account {
        /// User id.
        pub uid: u32,
        /// Primary group id.
        pub gid: u32,
        /// The group list, without the primary one; absent: what the system says of the user.
        pub supplementary: Option<Vec<u32>>,
    }
}

record! {
    /// A script and the interpreter that has loaded it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Script {
        /// Path of the Python source file.
        pub path: Box<[u8]>,
        /// The application group; empty: the main interpreter.
        pub application_group: Box<[u8]>,
        /// Callables of the script that were served: a successor without one of these would answer
        /// requests with errors.
        pub callables: Vec<Box<[u8]>>,
    }
}
