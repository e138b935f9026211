//! Tables for people: aligned text and Markdown.

use std::fmt::Write;

/// A table with one heading per column; the first column is set left, the others right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(headings: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { headings: headings.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; missing cells stay empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.headings.len(), String::new());
        self.rows.push(cells);
    }

    /// Aligned with spaces, each line indented by two.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            let mut line = String::from(" ");
            for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ =
                    if n == 0 { write!(line, " {cell:<width$}") } else { write!(line, "  {cell:>width$}") };
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// As a Markdown table.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut out = line(&self.headings);
        let rules = (0..self.headings.len()).map(|n| if n == 0 { "---" } else { "---:" });
        out.push_str(&line(&rules.map(str::to_owned).collect::<Vec<_>>()));
        for row in &self.rows {
            out.push_str(&line(row));
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.headings.len()];
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

/// A number with about three significant digits, the way a person would write it.
pub fn number(value: f64) -> String {
    // Sums of nothing and differences of nothing may be a negative zero.
    let value = if value.abs() < 0.0005 { 0.0 } else { value };
    match value.abs() {
        a if a >= 100.0 => format!("{value:.0}"),
        a if a >= 10.0 => format!("{value:.1}"),
        a if a >= 1.0 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["who", "TPS"]);
        table.row(["direct", "12345"]);
        table.row(["pgherd"]);
        assert_eq!(table.text(), "  who       TPS\n  direct  12345\n  pgherd\n");
        assert_eq!(table.markdown(), "| who | TPS |\n| --- | ---: |\n| direct | 12345 |\n| pgherd |  |\n");
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!([1234.5, 12.34, 1.234, 0.1234].map(number), ["1234", "12.3", "1.23", "0.123"]);
        assert_eq!(number(-0.0001), "0");
    }
}
