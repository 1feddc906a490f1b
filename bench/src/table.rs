//! Tables that are readable on a terminal and as Markdown.

use std::fmt;

/// A table; the first column is text, the others are figures.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&title| title.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, row) in self.rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let width = self.width(column);
                match column {
                    0 => write!(f, "| {cell:<width$} |")?,
                    _ => write!(f, " {cell:>width$} |")?,
                }
            }
            writeln!(f)?;
            if number == 0 {
                for column in 0..row.len() {
                    let line = "-".repeat(self.width(column));
                    f.write_str(&if column == 0 { format!("|-{line}-|") } else { format!("-{line}:|") })?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["name", "µs"]);
        table.row(["hello", "1,234"].map(str::to_owned));
        table.row(["x", "–"].map(str::to_owned));
        let wanted = "| name  |    µs |\n|-------|------:|\n| hello | 1,234 |\n| x     |     – |\n";
        assert_eq!(table.to_string(), wanted);
    }
}
