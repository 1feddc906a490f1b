//! The results of a script's functions, as answers.

use bridge::{Answer, ChosenRoute};
use python::{Exception, Object, Result};
use wsgi_core::codes::{
    ACCESS_UNCLEAR, GROUP_NOT_LATIN1, GROUP_NOT_TEXT, GROUPS_NOT_ITERABLE, HASH_EMPTY, HASH_UNCLEAR,
    PASSWORD_UNCLEAR, USER_EMPTY,
};

use super::QuestionCall;

/// Room in an encoded answer for a name besides its bytes.
const OVERHEAD: usize = 16;

impl QuestionCall<'_> {
    /// Returns the answer of `True`, `False` and `None`, which only the very objects are.
    fn constant(&self, result: &Object) -> Option<Answer> {
        let py = self.py;
        if result.is_none() {
            Some(Answer::Unknown)
        } else if result.is(&py.bool(true)) {
            Some(Answer::Yes)
        } else if result.is(&py.bool(false)) {
            Some(Answer::No)
        } else {
            None
        }
    }

    pub(super) fn access(&self, result: &Object) -> Result<Answer> {
        Ok(self.constant(result).unwrap_or_else(|| {
            let text = format_args!(
                "allow_access() has returned {}: it should be True, False or None",
                a_type(result)
            );
            self.refuse(ACCESS_UNCLEAR, text);
            Answer::Failed
        }))
    }

    pub(super) fn password(&self, result: &Object) -> Result<Answer> {
        if let Some(answer) = self.constant(result) {
            return Ok(answer);
        }
        if result.is_str() {
            let encoded = result.encode_utf8()?;
            let user = encoded.as_bytes().unwrap_or_default();
            if user.len() > Answer::LONGEST - OVERHEAD {
                self.refuse(PASSWORD_UNCLEAR, "check_password() has returned a user that is too long");
                return Ok(Answer::Failed);
            }
            if !user.is_empty() {
                return Ok(Answer::Text(user.to_vec()));
            }
            self.refuse(USER_EMPTY, "check_password() has returned an empty text: it should be the user");
            return Ok(Answer::Failed);
        }
        let text = format_args!(
            "check_password() has returned {}: it should be True, False, None or the user as text",
            a_type(result)
        );
        self.refuse(PASSWORD_UNCLEAR, text);
        Ok(Answer::Failed)
    }

    pub(super) fn realm_hash(&self, result: &Object) -> Result<Answer> {
        if result.is_none() {
            return Ok(Answer::Unknown);
        }
        let Some(hash) = self.name(result)? else {
            let text = format_args!(
                "get_realm_hash() has returned {}: it should be text, bytes or None",
                a_type(result)
            );
            self.refuse(HASH_UNCLEAR, text);
            return Ok(Answer::Failed);
        };
        if hash.is_empty() || hash.len() > Answer::LONGEST - OVERHEAD {
            self.refuse(
                HASH_EMPTY,
                "get_realm_hash() has returned nothing: it should be None for unknown users",
            );
            return Ok(Answer::Failed);
        }
        Ok(Answer::Text(hash))
    }

    pub(super) fn groups(&self, result: &Object) -> Result<Answer> {
        let items = match result.iter() {
            Ok(items) => items,
            Err(raised) if raised.matches(Exception::TypeError) => {
                raised.clear();
                let text =
                    format_args!("groups_for_user() has returned {}: it should be a list", a_type(result));
                self.refuse(GROUPS_NOT_ITERABLE, text);
                return Ok(Answer::Failed);
            }
            Err(raised) => return Err(raised),
        };
        let (mut groups, mut length) = (Vec::new(), OVERHEAD);
        loop {
            let item = match items.next() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                // What has come so far counts.
                Err(raised) => {
                    let _ = self.raised(raised);
                    return Ok(Answer::SomeGroups(groups));
                }
            };
            let group = match self.name(&item) {
                Ok(Some(group)) => group,
                Ok(None) => {
                    let text = format_args!(
                        "groups_for_user() has returned {} among the groups: they should be text or bytes",
                        a_type(&item)
                    );
                    self.refuse(GROUP_NOT_TEXT, text);
                    return Ok(Answer::Failed);
                }
                Err(raised) => {
                    raised.clear();
                    let text = "groups_for_user() has returned a group with characters outside of Latin-1: return it as bytes";
                    self.refuse(GROUP_NOT_LATIN1, text);
                    return Ok(Answer::Failed);
                }
            };
            length += group.len() + OVERHEAD;
            if length > Answer::LONGEST {
                self.refuse(
                    GROUPS_NOT_ITERABLE,
                    "groups_for_user() has returned more than can be taken (1 MiB)",
                );
                return Ok(Answer::Failed);
            }
            groups.push(group);
        }
        Ok(Answer::Groups(groups))
    }

    /// Calls the functions of a dispatch script, with one environ.
    pub(super) fn route(&self, module: &Object, environ: &Object) -> Result<Answer> {
        let py = self.py;
        let choose = |function: &str| -> Result<Option<Vec<u8>>> {
            let Some(callable) = module.dict_get(&py.name(function)?)? else { return Ok(None) };
            let result = callable.call([environ])?;
            if result.is_none() {
                return Ok(None);
            }
            let name = self.name(&result)?.filter(|name| name.len() < Answer::LONGEST / 4);
            name.map(Some).ok_or_else(|| {
                let text = format!("{function}() must return str, bytes or None, not {}", result.type_name());
                py.raise(Exception::TypeError, &text)
            })
        };
        Ok(Answer::Route(ChosenRoute {
            process_group: choose("process_group")?,
            application_group: choose("application_group")?,
            callable_object: choose("callable_object")?,
        }))
    }

    /// Returns the bytes of `bytes`, or of a text in Latin-1; `None` for anything else.
    fn name(&self, object: &Object) -> Result<Option<Vec<u8>>> {
        if object.is_bytes() {
            return Ok(object.as_bytes().map(<[u8]>::to_vec));
        }
        if !object.is_str() {
            return Ok(None);
        }
        if let Some(text) = object.as_latin1() {
            return Ok(Some(text.to_vec()));
        }
        Ok(object.encode_latin1()?.as_bytes().map(<[u8]>::to_vec))
    }
}

fn a_type(object: &Object) -> String {
    format!("an object of the type '{}'", object.type_name())
}
