//! A system and servers for the tests of directives.

use crate::daemon::ServerId;
use crate::directive::{FileKind, Servers, System};

/// A system with a user `joe` (1000), a group `staff` (50) and a few files.
pub(super) struct Machine {
    pub(super) is_root: bool,
}

impl System for Machine {
    fn is_root(&self) -> bool {
        self.is_root
    }

    fn user_id(&self, name: &[u8]) -> Option<u32> {
        match name {
            b"root" => Some(0),
            b"joe" => Some(1000),
            _ => None,
        }
    }

    fn has_user(&self, id: u32) -> bool {
        matches!(id, 0 | 1000)
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        (name == b"staff").then_some(50)
    }

    fn max_groups(&self) -> usize {
        3
    }

    fn file_kind(&self, path: &[u8]) -> Option<FileKind> {
        match path {
            b"/hidden" => None,
            b"/usr" | b"/venv" => Some(FileKind::Directory),
            b"/usr/bin/python3" | b"/usr/bin/idle" | b"/x.zip" => Some(FileKind::File),
            _ => Some(FileKind::Missing),
        }
    }

    fn read(&self, path: &[u8]) -> Result<Vec<u8>, String> {
        match path {
            b"/good" => Ok(b"# secrets\nA=1\nB=x y\n".to_vec()),
            b"/bad" => Ok(b"A=1\nsecret\n".to_vec()),
            _ => Err("No such file or directory".to_owned()),
        }
    }
}

/// The line stands in virtual host 1, or in the main server.
pub(super) struct DefinedServers {
    pub(super) host: Option<ServerId>,
    pub(super) names: Vec<(Option<ServerId>, &'static str)>,
}

impl DefinedServers {
    fn find(&self, host: Option<ServerId>) -> Option<&[u8]> {
        self.names.iter().find(|(id, _)| *id == host).map(|(_, name)| name.as_bytes())
    }
}

impl Servers for DefinedServers {
    fn host(&self) -> Option<ServerId> {
        self.host
    }

    fn name(&self) -> Option<&[u8]> {
        self.find(self.host)
    }

    fn name_of(&self, host: ServerId) -> Option<&[u8]> {
        self.find(Some(host))
    }
}
