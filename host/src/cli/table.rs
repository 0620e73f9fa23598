//! Columns that are as wide as their cells, line by line: elastic tab stops.

use unicode_width::UnicodeWidthStr;

/// How wide columns are at least, and how far apart.
#[derive(Clone, Copy, Debug)]
pub struct Spacing {
    /// Least width of a column.
    pub least: usize,
    /// Blanks after the widest cell.
    pub padding: usize,
}

/// Spacing of tables.
pub const TABLE: Spacing = Spacing {
    least: 10,
    padding: 3,
};
/// Spacing of `key: value` blocks.
pub const BLOCK: Spacing = Spacing { least: 0, padding: 1 };

/// Replaces the tabs of `text`. A cell belongs to a column only if a tab follows it; a column is a run of lines that
/// have such a cell at that place.
pub fn align(text: &str, spacing: Spacing) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut aligned = String::new();
    for (number, cells) in lines.iter().enumerate() {
        let last = cells.len().saturating_sub(1);
        for (column, cell) in cells.iter().enumerate() {
            aligned.push_str(cell);
            if column < last {
                let width = column_width(&lines, number, column, spacing);
                let blanks = width.saturating_sub(cell.width());
                aligned.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        aligned.push('\n');
    }
    aligned
}

fn column_width(lines: &[Vec<&str>], number: usize, column: usize, spacing: Spacing) -> usize {
    let has_column = |cells: &&Vec<&str>| cells.len() > column + 1;
    let (before, after) = lines.split_at(number.min(lines.len()));
    let above = before.iter().rev().take_while(has_column);
    let below = after.iter().take_while(has_column);
    above
        .chain(below)
        .filter_map(|cells| cells.get(column))
        .map(|cell| cell.width() + spacing.padding)
        .max()
        .unwrap_or_default()
        .max(spacing.least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cell_is_not_padded_but_empty_ones_before_it_are() {
        assert_eq!(
            align("NAME\tSTATUS\tX\nlong-name-of-one\trunning\t\nb\t\ty\n", TABLE),
            "NAME               STATUS    X\nlong-name-of-one   running   \nb                            y\n"
        );
    }

    #[test]
    fn a_line_without_the_column_ends_it() {
        assert_eq!(
            align("Name:\ta\nLong name:\tb\n\nNodes:\nX:\tc\n \ty\n", BLOCK),
            "Name:      a\nLong name: b\n\nNodes:\nX: c\n   y\n"
        );
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(align("日本:\ta\nabcdef:\tb\n", BLOCK), "日本:   a\nabcdef: b\n");
    }
}
