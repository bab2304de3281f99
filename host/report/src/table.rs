//! Tables for the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table, TableComponent};

/// How a table is set.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// A rule below the head; all columns but the first are aligned to the right.
    Figures,
    /// No rule; all columns are aligned to the left.
    Text,
}

/// The lines of a table: its head, its rule if it has one, and one line for each row. Cells must
/// not contain line breaks.
pub(crate) fn lines<const N: usize>(
    head: [&str; N],
    rows: Vec<[String; N]>,
    style: Style,
) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(head).add_rows(rows);
    if let (Style::Figures, false) = (style, table.is_empty()) {
        table.set_style(TableComponent::HeaderLines, '-');
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        let gap = if index == 0 { 0 } else { 2 };
        column.set_padding((gap, 0));
        if let (Style::Figures, 1..) = (style, index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.lines();
    lines.map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(style: Style, expected: &[&str]) {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = vec![row(["a", "1", "–"]), row(["longer", "12,345", "2 ms"])];
        assert_eq!(lines(["name", "count", "time"], rows, style), expected);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        check(
            Style::Figures,
            &[
                "name     count  time",
                "--------------------",
                "a            1     –",
                "longer  12,345  2 ms",
            ],
        );
        check(
            Style::Text,
            &[
                "name    count   time",
                "a       1       –",
                "longer  12,345  2 ms",
            ],
        );
    }
}
