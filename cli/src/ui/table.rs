//! Column output, like docker's: left-aligned, three blanks apart.

/// Renders rows as docker does: no column but the last is narrower than ten characters.
pub(crate) fn docker(rows: &[Vec<String>]) -> String {
    const NARROWEST: usize = 7;
    let wide = |row: &Vec<String>| -> Vec<String> {
        let last = row.len().saturating_sub(1);
        let cell = |(at, cell): (usize, &String)| if at == last { cell.clone() } else { format!("{cell:NARROWEST$}") };
        row.iter().enumerate().map(cell).collect()
    };
    columns(&rows.iter().map(wide).collect::<Vec<_>>(), 3)
}

/// Renders rows with `blanks` blanks between the columns; no line ends in blanks.
pub(crate) fn columns(rows: &[Vec<String>], blanks: usize) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + blanks));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = vec![row(["TAG", "IMAGE ID", "X"]), row(["1", "2a18fae464ac", ""])];
        assert_eq!(columns(&rows, 3), "TAG   IMAGE ID       X\n1     2a18fae464ac\n");
        assert_eq!(docker(&rows), "TAG       IMAGE ID       X\n1         2a18fae464ac\n");
    }
}
