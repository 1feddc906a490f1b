//! The tree of a configuration as Apache itself dumps it (`httpd -t -D DUMP_CONFIG`, by `mod_info`).
//!
//! A section without content is not closed in it, so the depth of a line is told by its indentation.

use wsgi_core::diagnostic::Position;
use wsgi_core::words::display;

use super::line::{Line, Raw};

/// Reads a dump; other lines that Apache prints are left out.
pub(crate) fn parse(dump: &[u8]) -> Vec<Line> {
    let mut position = Position::default();
    let mut offset = 0;
    let mut open: Vec<Line> = Vec::new();
    let mut lines = Vec::new();
    // A line of the configuration comes behind one with its number.
    let mut is_numbered = false;
    for text in dump.split(|&byte| byte == b'\n') {
        if let Some(file) = text.strip_prefix(b"# In file: ") {
            (position.file, offset) = file_of(file);
            continue;
        }
        let indent = text.iter().take_while(|&&byte| byte == b' ').count();
        let text = &text[indent..];
        if let Some(number) = number_of(text) {
            position.line = offset + number;
            is_numbered = true;
            continue;
        }
        if !std::mem::take(&mut is_numbered) {
            continue;
        }
        close(&mut open, indent / 2, &mut lines);
        let (name, mut arguments) = Raw::divide(text);
        if name.starts_with('<') {
            if arguments.ends_with(b">") {
                arguments.pop();
            }
            arguments.truncate(arguments.trim_ascii_end().len());
            let name = name.trim_end_matches('>').to_owned();
            open.push(Line { name, arguments, position: position.clone(), children: Vec::new() });
        } else {
            let line = Line { name, arguments, position: position.clone(), children: Vec::new() };
            siblings(&mut open, &mut lines).push(line);
        }
    }
    close(&mut open, 0, &mut lines);
    lines
}

/// Closes sections until `depth` are open.
fn close(open: &mut Vec<Line>, depth: usize, lines: &mut Vec<Line>) {
    while open.len() > depth {
        let Some(section) = open.pop() else { return };
        siblings(open, lines).push(section);
    }
}

fn siblings<'o>(open: &'o mut [Line], lines: &'o mut Vec<Line>) -> &'o mut Vec<Line> {
    open.last_mut().map_or(lines, |section| &mut section.children)
}

/// Reads `#   12:`.
fn number_of(text: &[u8]) -> Option<u32> {
    display(text.strip_prefix(b"#")?.strip_suffix(b":")?).trim().parse().ok()
}

/// Returns the file of a place, and the number of the line before the first one that is counted in it:
/// in a macro, lines are counted from its own.
pub(super) fn file_of(place: &[u8]) -> (Box<[u8]>, u32) {
    let text = display(place);
    let defined = text.strip_prefix("macro '").and_then(|rest| {
        let (_, rest) = rest.split_once("' (defined on line ")?;
        let (line, rest) = rest.split_once(" of \"")?;
        let (file, _) = rest.split_once("\") used on line ")?;
        Some((file.as_bytes().into(), line.parse().ok()?))
    });
    defined.unwrap_or_else(|| (place.into(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "\
# In file: /a.conf
#   2:
ServerName x
# In file: macro 'm' (defined on line 15 of \"/a.conf\") used on line 22 of \"/b.conf\"
#   1:
<Directory \"/some dir/aa\">
  #   2:
  Require all granted
</Directory>
# In file: /a.conf
#  23:
<VirtualHost *:80>
# In file: /inc/1.conf
  #   2:
  Alias /i \"/i \\\"j\"
# In file: /a.conf
  #  27:
  <Location /empty  >
  #  29:
  <Location />
    #  30:
    Require all   granted
  </Location>
</VirtualHost>
#  40:
Listen 80
ServerRoot: \"/x\"
PidFile: \"/y\"
";

    #[test]
    fn dumps_are_read() {
        let lines = parse(DUMP.as_bytes());
        let shown = |line: &Line| {
            format!(
                "{}:{} {} {}",
                display(&line.position.file),
                line.position.line,
                line.name,
                display(&line.arguments)
            )
        };
        let top: Vec<_> = lines.iter().map(shown).collect();
        assert_eq!(
            top,
            [
                "/a.conf:2 ServerName x",
                "/a.conf:16 <Directory \"/some dir/aa\"",
                "/a.conf:23 <VirtualHost *:80",
                "/a.conf:40 Listen 80",
            ]
        );
        let inner: Vec<_> = lines[2].children.iter().map(shown).collect();
        assert_eq!(
            inner,
            ["/inc/1.conf:2 Alias /i \"/i \\\"j\"", "/a.conf:27 <Location /empty", "/a.conf:29 <Location /"]
        );
        assert_eq!(lines[1].children.len(), 1);
        assert_eq!(lines[2].children[2].children.len(), 1);
    }
}
