//! A table in plain text.

/// Whether a column's cells stand at its left or its right edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under a header, in columns as wide as their widest cell. Ends with a line break.
pub(crate) fn render(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let titles: Vec<String> = header.iter().map(|(title, _)| title.to_string()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&titles).chain(rows).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let mut written = String::new();
        for ((cell, width), (_, align)) in line.iter().zip(&widths).zip(header) {
            match align {
                Align::Left => written.push_str(&format!("{cell:<width$}  ")),
                Align::Right => written.push_str(&format!("{cell:>width$}  ")),
            }
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".into(), "1".into()], vec!["b — c".into(), "1000".into()]];
        let text = render(&[("name", Align::Left), ("n", Align::Right)], &rows);
        assert_eq!(text, "name      n\na         1\nb — c  1000\n");
    }
}
