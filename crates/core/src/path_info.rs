//! `SCRIPT_NAME` and `PATH_INFO`: where a request's path is divided (§4.1).

use std::borrow::Cow;

/// Divides the decoded path `uri` at its end `path_info` (what the server found behind an existing
/// file) into `SCRIPT_NAME` and `PATH_INFO`. Runs of slashes become one in both.
#[must_use]
pub fn split<'a>(uri: &'a [u8], path_info: &'a [u8]) -> (Cow<'a, [u8]>, Cow<'a, [u8]>) {
    (collapse(&uri[..script_length(uri, path_info)]), collapse(path_info))
}

/// Returns the script name and the path info of an application at `url_path`, which does not end in
/// a slash. A URL that is not below it is all path info.
#[must_use]
pub fn below<'a>(uri: &'a [u8], url_path: &[u8]) -> (Cow<'a, [u8]>, Cow<'a, [u8]>) {
    let uri = collapse(uri);
    let rest = uri.strip_prefix(url_path).filter(|rest| matches!(rest, [] | [b'/', ..]));
    let at = rest.map_or(0, |rest| uri.len() - rest.len());
    match uri {
        Cow::Borrowed(uri) => (uri[..at].into(), uri[at..].into()),
        Cow::Owned(mut script_name) => {
            let path_info = script_name.split_off(at);
            (script_name.into(), path_info.into())
        }
    }
}

/// Collapses each run of slashes in `path` to one.
#[must_use]
pub fn collapse(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return Cow::Borrowed(path);
    }
    let mut path = path.to_vec();
    path.dedup_by(|next, last| *next == b'/' && *last == b'/');
    Cow::Owned(path)
}

/// Returns the beginning of `path_info` in `uri`. A run of slashes equals any other: the file
/// system may have merged those of `path_info`. If `uri` does not end in `path_info` (an alias has
/// added something), the division is at the end of the component that differs, as in httpd's
/// `ap_find_path_info`.
fn script_length(uri: &[u8], path_info: &[u8]) -> usize {
    let (mut script, mut info) = (uri.len(), path_info.len());
    while info > 0 {
        if script == 0 || uri[script - 1] != path_info[info - 1] {
            return script + uri[script..].iter().take_while(|&&byte| byte != b'/').count();
        }
        if path_info[info - 1] == b'/' {
            script = without_slashes(&uri[..script]);
            info = without_slashes(&path_info[..info]);
        } else {
            script -= 1;
            info -= 1;
        }
    }
    script
}

fn without_slashes(path: &[u8]) -> usize {
    path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(uri: &str, path_info: &str) -> (String, String) {
        let (script, info) = split(uri.as_bytes(), path_info.as_bytes());
        (String::from_utf8_lossy(&script).into_owned(), String::from_utf8_lossy(&info).into_owned())
    }

    #[test]
    fn applications_at_a_url_path() {
        for (uri, url_path, script_name, path_info) in [
            ("/", "", "", "/"),
            ("/a//b", "", "", "/a/b"),
            ("/shop", "/shop", "/shop", ""),
            ("/shop/", "/shop", "/shop", "/"),
            ("//shop//x/", "/shop", "/shop", "/x/"),
            ("/shopping", "/shop", "", "/shopping"),
        ] {
            let (name, info) = below(uri.as_bytes(), url_path.as_bytes());
            assert_eq!(
                (&*name, &*info),
                (script_name.as_bytes(), path_info.as_bytes()),
                "{uri} below {url_path}"
            );
        }
    }

    #[test]
    fn divisions_of_the_contract() {
        for (uri, path_info, script_name, info) in [
            ("/x/y", "/x/y", "", "/x/y"),
            ("/", "/", "", "/"),
            ("/app", "", "/app", ""),
            ("/app/", "/", "/app", "/"),
            ("/app//x//y", "//x//y", "/app", "/x/y"),
            ("/app//x//y", "/x/y", "/app", "/x/y"),
            ("/ts/x", "/x", "/ts", "/x"),
            ("/dir/a.wsgi/x", "/x", "/dir/a.wsgi", "/x"),
            ("/m/a/y", "/y", "/m/a", "/y"),
            ("/mm/aa/x", "/aa/x", "/mm", "/aa/x"),
            ("/foo/any/bar", "/bar", "/foo/any", "/bar"),
            ("//app//", "/", "/app", "/"),
        ] {
            assert_eq!(parts(uri, path_info), (script_name.to_owned(), info.to_owned()), "{uri} {path_info}");
        }
    }

    #[test]
    fn path_info_that_is_not_in_the_url() {
        assert_eq!(parts("/m", "/added"), ("/m".to_owned(), "/added".to_owned()));
        assert_eq!(parts("/m/x", "/added/x"), ("/m".to_owned(), "/added/x".to_owned()));
        assert_eq!(parts("", "/x"), (String::new(), "/x".to_owned()));
    }

    proptest! {
        #[test]
        fn parts_make_the_whole(script in "(/[ab]{1,3}){0,3}", info in "(/{1,3}[ab]{0,3}){0,3}") {
            let uri = format!("{script}{info}");
            let (got_script, got_info) = parts(&uri, &info);
            let collapse = |text: &str| String::from_utf8(collapse(text.as_bytes()).into_owned()).unwrap();
            prop_assert_eq!(got_script, collapse(&script));
            prop_assert_eq!(&got_info, &collapse(&info));
            prop_assert!(!got_info.contains("//"));
        }

        #[test]
        fn any_paths_divide(uri in proptest::collection::vec(any::<u8>(), 0..20), info in proptest::collection::vec(any::<u8>(), 0..20)) {
            let (script, _) = split(&uri, &info);
            prop_assert!(script.len() <= uri.len());
        }
    }
}
