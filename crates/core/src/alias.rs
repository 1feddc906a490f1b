//! Script aliases: which URLs they map, and to which file.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::Position;
use crate::route::RouteOptions;

/// The number of groups of a match that a target can name: `$0` (the whole match) to `$9`.
pub const GROUPS: usize = 10;

/// Offsets of what a pattern matched: the whole match, then each group that took part.
pub type Captures = [Option<Range<usize>>; GROUPS];

/// A compiled regular expression of the server's own dialect.
pub trait Pattern: Send + Sync + std::fmt::Debug {
    /// Returns the first match in `subject`. Offsets lie in `subject`.
    fn captures(&self, subject: &[u8]) -> Option<Captures>;
}

/// A `WSGIScriptAlias` or `WSGIScriptAliasMatch`.
#[derive(Debug)]
pub struct ScriptAlias {
    /// The URLs it maps.
    pub location: Location,
    /// The file it maps them to.
    pub target: Box<[u8]>,
    /// Its options.
    pub options: RouteOptions,
    /// The line that defines it.
    pub position: Position,
}

/// The URLs of an alias.
#[derive(Debug)]
pub enum Location {
    /// A path, and all below it.
    Prefix(Box<[u8]>),
    /// Everything that matches a regular expression.
    Match(Arc<dyn Pattern>),
}

impl ScriptAlias {
    /// Returns whether the alias maps `uri` (decoded, without a query); if so, `file` holds the
    /// file it maps to.
    #[must_use]
    pub fn map(&self, uri: &[u8], file: &mut Vec<u8>) -> bool {
        if uri.first() != Some(&b'/') {
            return false;
        }
        let consumed = match &self.location {
            Location::Prefix(prefix) => match prefix_length(prefix, uri) {
                Some(length) => {
                    file.clear();
                    file.extend_from_slice(&self.target);
                    length
                }
                None => return false,
            },
            Location::Match(pattern) => match pattern.captures(uri) {
                Some(captures) => {
                    let end = captures[0].as_ref().map_or(0, |whole| whole.end.min(uri.len()));
                    if end == 0 {
                        return false;
                    }
                    file.clear();
                    substitute(&self.target, uri, &captures, file);
                    end
                }
                None => return false,
            },
        };
        // An alias for `/` has eaten the slash that must stand between the file and the rest.
        let tail = if uri[..consumed].iter().all(|&byte| byte == b'/') { uri } else { &uri[consumed..] };
        file.extend_from_slice(tail);
        true
    }
}

/// Returns the length of the part of `uri` that the alias `prefix` covers: a slash stands for a run
/// of slashes, and the end must be the end of a path component.
fn prefix_length(prefix: &[u8], uri: &[u8]) -> Option<usize> {
    if prefix.first() != Some(&b'/') {
        return None;
    }
    let mut at = 0;
    let mut wanted = 0;
    while wanted < prefix.len() {
        if prefix[wanted] == b'/' {
            let run = slashes(&uri[at..]);
            if run == 0 {
                return None;
            }
            at += run;
            wanted += slashes(&prefix[wanted..]);
        } else {
            if uri.get(at) != Some(&prefix[wanted]) {
                return None;
            }
            at += 1;
            wanted += 1;
        }
    }
    let at_boundary = prefix.last() == Some(&b'/') || uri.get(at).is_none_or(|&next| next == b'/');
    at_boundary.then_some(at)
}

fn slashes(text: &[u8]) -> usize {
    text.iter().take_while(|&&byte| byte == b'/').count()
}

/// Appends `target` as httpd's `ap_pregsub` does: `$0` to `$9` are groups, a backslash takes the
/// next character literally.
fn substitute(target: &[u8], subject: &[u8], captures: &Captures, out: &mut Vec<u8>) {
    let mut bytes = target.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let group = bytes.next_if(|next| byte == b'$' && next.is_ascii_digit());
        if let Some(digit) = group {
            let range = captures[usize::from(digit - b'0')].clone();
            out.extend_from_slice(range.and_then(|range| subject.get(range)).unwrap_or_default());
        } else if byte == b'\\' {
            out.push(bytes.next().unwrap_or(byte));
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(location: &str, target: &str) -> ScriptAlias {
        ScriptAlias {
            location: Location::Prefix(location.as_bytes().into()),
            target: target.as_bytes().into(),
            options: RouteOptions::default(),
            position: Position::default(),
        }
    }

    fn map(alias: &ScriptAlias, uri: &str) -> Option<String> {
        let mut file = b"left over".to_vec();
        alias.map(uri.as_bytes(), &mut file).then(|| String::from_utf8(file).unwrap())
    }

    #[test]
    fn prefixes_of_the_contract() {
        let file = |location: &str, target: &str, uri: &str| map(&prefix(location, target), uri);
        assert_eq!(file("/", "/w/a.wsgi", "/x/y").as_deref(), Some("/w/a.wsgi/x/y"));
        assert_eq!(file("/", "/w/a.wsgi", "/").as_deref(), Some("/w/a.wsgi/"));
        assert_eq!(file("/", "/w/a.wsgi", "///x//y").as_deref(), Some("/w/a.wsgi///x//y"));
        assert_eq!(file("/app", "/w/a.wsgi", "/app").as_deref(), Some("/w/a.wsgi"));
        assert_eq!(file("/app", "/w/a.wsgi", "/app/").as_deref(), Some("/w/a.wsgi/"));
        assert_eq!(file("/app", "/w/a.wsgi", "//app").as_deref(), Some("/w/a.wsgi"));
        assert_eq!(file("/app", "/w/a.wsgi", "/app//x//y").as_deref(), Some("/w/a.wsgi//x//y"));
        assert_eq!(file("/ts/", "/w/a.wsgi/", "/ts/x").as_deref(), Some("/w/a.wsgi/x"));
        assert_eq!(file("/dir", "/w", "/dir/a.wsgi/x").as_deref(), Some("/w/a.wsgi/x"));
        assert_eq!(file("/dir/", "/w/", "/dir/").as_deref(), Some("/w/"));
        for (location, uri) in [
            ("/app", "/apple"),
            ("/app/", "/app"),
            ("app", "/app"),
            ("app", "app"),
            ("/app", "*"),
            ("/app", "/App"),
        ] {
            assert_eq!(file(location, "/w", uri), None, "{location} {uri}");
        }
    }

    /// A match that a test dictates.
    #[derive(Debug)]
    struct Dictated(Option<Captures>);

    impl Pattern for Dictated {
        fn captures(&self, _: &[u8]) -> Option<Captures> {
            self.0.clone()
        }
    }

    fn matching(target: &str, groups: &[Range<usize>]) -> ScriptAlias {
        let mut captures = Captures::default();
        captures.iter_mut().zip(groups).for_each(|(slot, group)| *slot = Some(group.clone()));
        let found = (!groups.is_empty()).then_some(captures);
        ScriptAlias {
            location: Location::Match(Arc::new(Dictated(found))),
            target: target.as_bytes().into(),
            options: RouteOptions::default(),
            position: Position::default(),
        }
    }

    #[test]
    fn matches_of_the_contract() {
        assert_eq!(map(&matching("/w/$1.wsgi", &[0..4, 3..4]), "/m/a/y").as_deref(), Some("/w/a.wsgi/y"));
        assert_eq!(
            map(&matching("/w/a.wsgi/$1", &[0..6, 4..6]), "/mm/aa/x").as_deref(),
            Some("/w/a.wsgi/aa/x")
        );
        assert_eq!(
            map(&matching("/w/a.wsgi", &[4..8, 0..0]), "/foo/any/bar").as_deref(),
            Some("/w/a.wsgi/bar")
        );
        assert_eq!(map(&matching(r"/w/&\$1$2$x", &[0..2, 1..2]), "/a").as_deref(), Some("/w/&$1$x"));
        assert_eq!(map(&matching("/w", &[0..1, 0..1]), "/x").as_deref(), Some("/w/x"));
        #[expect(clippy::reversed_empty_ranges, reason = "what a careless pattern could answer")]
        let nonsense = matching("/w$1", &[0..99, 5..2]);
        assert_eq!(map(&nonsense, "/x").as_deref(), Some("/w"));
        assert_eq!(map(&matching("/w", &[]), "/x"), None);
        assert_eq!(map(&matching("/w", &[0..0, 0..0]), "/x"), None, "a match that ends where it begins");
    }

    /// Compares component by component, with slash runs collapsed on both sides.
    fn naive(prefix: &str, uri: &str) -> bool {
        let collapse = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.dedup_by(|next, last| *next == b'/' && *last == b'/');
            String::from_utf8(bytes).unwrap()
        };
        let (prefix, uri) = (collapse(prefix), collapse(uri));
        prefix.starts_with('/')
            && uri.starts_with('/')
            && (prefix == uri
                || uri
                    .strip_prefix(&prefix)
                    .is_some_and(|tail| prefix.ends_with('/') || tail.starts_with('/')))
    }

    proptest! {
        #[test]
        fn prefixes_agree_with_the_model(location in "[/ab]{0,6}", uri in "[/ab]{0,10}") {
            prop_assert_eq!(map(&prefix(&location, "/w"), &uri).is_some(), naive(&location, &uri));
        }

        #[test]
        fn any_target_substitutes(target in proptest::collection::vec(any::<u8>(), 0..30), end in 1_usize..5) {
            let mut out = Vec::new();
            let mut captures = Captures::default();
            captures[0] = Some(0..end);
            substitute(&target, b"/abcd", &captures, &mut out);
            prop_assert!(out.len() <= target.len() * 5);
        }
    }
}
