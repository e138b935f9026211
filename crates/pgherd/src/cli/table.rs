//! Columns of text.

/// Rows under a head, each column as wide as its widest cell, two blanks between. Numbers stand to the right.
pub fn render(head: &[&str], right: &[bool], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let head: Vec<String> = head.iter().map(|cell| cell.to_string()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            let width = widths.get(index).copied().unwrap_or(0);
            let separator = if index == 0 { " " } else { "  " };
            line.push_str(separator);
            if right.get(index).copied().unwrap_or(false) {
                line.push_str(&format!("{cell:>width$}"));
            } else {
                line.push_str(&format!("{cell:width$}"));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["pg1".to_string(), "7".to_string()], vec!["replica".to_string(), "12".to_string()]];
        let text = super::render(&["Member", "TL"], &[false, true], &rows);
        assert_eq!(text, " Member   TL\n pg1       7\n replica  12\n");
    }
}
