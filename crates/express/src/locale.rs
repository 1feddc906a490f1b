//! The locale that the application works in.

/// The locale to set: the one that was asked for, else that of the environment, else C.UTF-8; and
/// a warning, if the machine does not have the one that was asked for. `exists` says whether it has
/// one.
pub(crate) fn choose(
    asked: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
    exists: impl Fn(&str) -> bool,
) -> (String, Option<String>) {
    if let Some(asked) = asked {
        if asked == UTF_8 || is_plain(asked) {
            return (UTF_8.to_owned(), None);
        }
        if exists(asked) {
            return (asked.to_owned(), None);
        }
        let warning = format!(
            "this machine has no locale {asked}, and {UTF_8} is used instead; generate it (Debian: dpkg-reconfigure \
             locales), or choose one of `locale -a` with --locale"
        );
        return (UTF_8.to_owned(), Some(warning));
    }
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    // A plain one would make Python read and write ASCII.
    let usable = set.filter(|name| !is_plain(name) && (name == UTF_8 || exists(name)));
    (usable.unwrap_or_else(|| UTF_8.to_owned()), None)
}

const UTF_8: &str = "C.UTF-8";

fn is_plain(name: &str) -> bool {
    name == "C" || name == "POSIX"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_missing_locales_become_utf_8() {
        let german = |name: &str| name == "de_DE.UTF-8";
        let with = |value: &'static str| {
            choose(None, move |name| (name == "LANG").then(|| value.to_owned()), german).0
        };
        assert_eq!(with("de_DE.UTF-8"), "de_DE.UTF-8");
        for other in ["", "C", "POSIX", "C.UTF-8", "xx_XX.UTF-8"] {
            assert_eq!(with(other), "C.UTF-8", "{other}");
        }
    }

    #[test]
    fn a_requested_locale_that_is_missing_is_replaced_with_a_warning() {
        let choose =
            |name| choose(Some(name), |_| Some("en_US.UTF-8".into()), |known| known == "de_DE.UTF-8");
        for name in ["de_DE.UTF-8", "C.UTF-8"] {
            assert_eq!(choose(name), (name.to_owned(), None));
        }
        for plain in ["C", "POSIX"] {
            assert_eq!(choose(plain), ("C.UTF-8".to_owned(), None));
        }
        let (chosen, warning) = choose("xx_XX");
        assert!(chosen == "C.UTF-8" && warning.unwrap().contains("--locale"));
    }
}
