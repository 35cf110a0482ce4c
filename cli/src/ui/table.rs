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

/// How many characters a line of standard output has place for: `no_terminal` if it is none.
pub(crate) fn width(no_terminal: usize) -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok().filter(|size| size.ws_col > 0);
    size.map_or(no_terminal, |size| usize::from(size.ws_col))
}

/// Cuts cells until no line is longer than `width`. `flexible` are the columns that may become shorter, each with how narrow it may
/// become; the first gives way first.
pub(crate) fn fit(rows: &mut [Vec<String>], blanks: usize, width: usize, flexible: &[(usize, usize)]) {
    for (column, narrowest) in flexible {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let total = (0..columns).map(|column| widest(column) + blanks).sum::<usize>().saturating_sub(blanks);
        let most = widest(*column).saturating_sub(total.saturating_sub(width)).max(*narrowest);
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(*column)) {
            if cell.chars().count() > most {
                *cell = cell.chars().take(most.saturating_sub(1)).chain(['…']).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_where_that_costs_least() {
        let rows = || vec![vec!["one".to_owned(), "instruction".to_owned(), "a long cause".to_owned()]];
        for (width, expected) in [
            (30, "one instruction a long cause\n"),
            (25, "one instruc… a long cause\n"),
            (20, "one inst… a long ca…\n"),
            (3, "one inst… a lon…\n"),
        ] {
            let mut rows = rows();
            fit(&mut rows, 1, width, &[(1, 5), (2, 6)]);
            assert_eq!(columns(&rows, 1), expected);
        }
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = vec![row(["TAG", "IMAGE ID", "X"]), row(["1", "2a18fae464ac", ""])];
        assert_eq!(columns(&rows, 3), "TAG   IMAGE ID       X\n1     2a18fae464ac\n");
        assert_eq!(docker(&rows), "TAG       IMAGE ID       X\n1         2a18fae464ac\n");
    }
}
