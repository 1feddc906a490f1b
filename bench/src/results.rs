//! The results that are kept, in `bench/RESULTS.md`.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::Error;

/// What is below this line is rewritten.
const MARK: &str = "## Results\n";

/// Replaces the results.
pub(crate) fn write(conditions: &str, sections: &[String]) -> Result<(), Error> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
    let replaced = fs::read_to_string(&path).and_then(|document| {
        let replaced = replace(&document, conditions, sections);
        replaced.ok_or_else(|| io::Error::other(format!("no line `{}`", MARK.trim_end())))
    });
    let written = replaced.and_then(|document| fs::write(&path, document));
    written.map_err(|source| Error::File { path, source })
}

fn replace(document: &str, conditions: &str, sections: &[String]) -> Option<String> {
    let (above, _) = document.split_once(MARK)?;
    let parts: Vec<_> = std::iter::once(conditions).chain(sections.iter().map(String::as_str)).collect();
    Some(format!("{above}{MARK}\n{}\n", parts.join("\n").trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_results_alone() {
        let first =
            replace("# Title\n\n## Results\n\nNone.\n", "- fast\n", &["### prefork\n".to_owned()]).unwrap();
        assert_eq!(first, "# Title\n\n## Results\n\n- fast\n\n### prefork\n");
        let second = replace(&first, "- faster\n", &[]).unwrap();
        assert_eq!(second, "# Title\n\n## Results\n\n- faster\n");
        assert_eq!(replace("# Title\n", "", &[]), None);
    }
}
