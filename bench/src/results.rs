//! The results that are kept, in `bench/RESULTS.md`.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::Error;

/// A section of the document.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Comparison,
    Scaling,
    Restarts,
}

impl Part {
    const fn heading(self) -> &'static str {
        match self {
            Self::Comparison => "## Results\n",
            Self::Scaling => "## Scaling\n",
            Self::Restarts => "## Restarts\n",
        }
    }
}

/// Replaces a section.
pub(crate) fn write(part: Part, text: &str) -> Result<(), Error> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
    let replaced = fs::read_to_string(&path).and_then(|document| {
        let replaced = replace(&document, part.heading(), text);
        replaced.ok_or_else(|| io::Error::other(format!("no line `{}`", part.heading().trim_end())))
    });
    let written = replaced.and_then(|document| fs::write(&path, document));
    written.map_err(|source| Error::File { path, source })
}

fn replace(document: &str, heading: &str, text: &str) -> Option<String> {
    let (above, section) = document.split_once(heading)?;
    let below = section.find("\n## ").map_or("", |end| &section[end..]);
    Some(format!("{above}{heading}\n{}\n{below}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_one_section_alone() {
        let document = "# Title\n\n## Results\n\nNone.\n\n## Scaling\n\nNone.\n";
        let first = replace(document, "## Results\n", "- fast\n\n### prefork\n\n").unwrap();
        assert_eq!(first, "# Title\n\n## Results\n\n- fast\n\n### prefork\n\n## Scaling\n\nNone.\n");
        let second = replace(&first, "## Scaling\n", "- far\n").unwrap();
        assert_eq!(second, "# Title\n\n## Results\n\n- fast\n\n### prefork\n\n## Scaling\n\n- far\n");
        assert_eq!(replace("# Title\n", "## Results\n", ""), None);
    }
}
