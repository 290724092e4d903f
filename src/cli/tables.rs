//! Tables that fit: each column as wide as it must be, and on a terminal that is narrower the last one in several lines.

use std::io::Write;

use unicode_width::UnicodeWidthStr;

use super::show::{self, Cell, Paint, colours, columns};
use crate::text::Plain;

/// What stands between two columns.
const BETWEEN: usize = 2;
/// A last column that would be narrower than this is left as it is.
const NARROW: usize = 20;

/// Prints a list, or says on standard error that there is none: `none` is what there are none of, and what makes one.
pub fn list(headings: &[&str], rows: &[Vec<Cell>], none: &str) -> std::io::Result<()> {
    if rows.is_empty() {
        return show::note(false, none);
    }
    table(&mut show::out(), headings, rows)
}

/// Prints rows below their headings.
pub fn table(out: &mut impl Write, headings: &[&str], rows: &[Vec<Cell>]) -> std::io::Result<()> {
    within(out, headings, rows, colours(), columns())
}

/// The same for a terminal that is so wide, or for whoever takes lines of any length.
fn within(
    out: &mut impl Write,
    headings: &[&str],
    rows: &[Vec<Cell>],
    colours: bool,
    columns: Option<usize>,
) -> std::io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.width());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let before: usize = widths.iter().rev().skip(1).map(|width| width + BETWEEN).sum();
    let room = columns.and_then(|columns| columns.checked_sub(before)).filter(|room| *room >= NARROW);
    let headings: Vec<Cell> = headings.iter().map(|text| (Plain::from(*text), Paint::Dim)).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let Some(((last, paint), cells)) = row.split_last() else { continue };
        let mut line = String::new();
        for ((text, paint), width) in cells.iter().zip(&widths) {
            line.push_str(&paint.on(text, colours));
            line.push_str(&" ".repeat(width - text.width() + BETWEEN));
        }
        for part in wrapped(last, room) {
            line.push_str(&paint.on(part, colours));
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(before);
        }
    }
    Ok(())
}

/// A text in lines that are no wider than `room`, each as full as whole words make it. A word that is wider has a line of
/// its own.
fn wrapped(text: &str, room: Option<usize>) -> Vec<&str> {
    let Some(room) = room else { return vec![text] };
    let (mut lines, mut rest) = (Vec::new(), text);
    while rest.width() > room {
        let blanks = rest.match_indices(' ').map(|(at, _)| at).filter(|at| *at > 0);
        let fits = |at: &usize| rest[..*at].width() <= room;
        let Some(at) = blanks.clone().take_while(fits).last().or_else(|| blanks.clone().next()) else { break };
        lines.push(&rest[..at]);
        rest = rest[at..].trim_start_matches(' ');
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::super::show::{cell, or_nothing, text};
    use super::*;

    fn shown(headings: &[&str], rows: &[Vec<Cell>], colours: bool, columns: Option<usize>) -> String {
        let mut out = Vec::new();
        within(&mut out, headings, rows, colours, columns).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_aligned_and_has_colours_only_where_they_are_wanted() {
        let rows = vec![
            vec![("blog".into(), Paint::Plain), ("running".into(), Paint::Green)],
            vec![("a".into(), Paint::Plain), cell(None::<&str>)],
        ];
        assert_eq!(shown(&["NAME", "STATE"], &rows, false, None), "NAME  STATE\nblog  running\na     -\n");
        assert!(shown(&["NAME", "STATE"], &rows, true, None).contains("blog  \x1b[32mrunning\x1b[m\n"));
        // Columns are a terminal's, of which some characters take two and others none.
        let rows = ["日本", "é", "e\u{301}"].map(|name| vec![text(name), text("x")]);
        assert_eq!(shown(&["NAME", "WHY"], &rows, false, None), "NAME  WHY\n日本  x\né     x\ne\u{301}     x\n");
        let rows = [vec![cell(Some("a")), or_nothing(None::<&str>)]];
        assert_eq!(shown(&["NAME", "WHY"], &rows, false, None), "NAME  WHY\na\n");
        assert_eq!(cell(Some("a\x1b[31m\nb")).0, "a b");
    }

    #[test]
    fn on_a_narrow_terminal_the_last_column_has_several_lines() {
        let why = "the build ended with status 1 and said so";
        let row = |why: &str| vec![vec![text("7"), (why.into(), Paint::Red)]];
        let narrow = "ID  WHY\n7   the build ended with\n    status 1 and said so\n";
        assert_eq!(shown(&["ID", "WHY"], &row(why), false, Some(25)), narrow);
        assert_eq!(shown(&["ID", "WHY"], &row(why), false, Some(80)), format!("ID  WHY\n7   {why}\n"));
        // What would be narrower still is left to the terminal.
        assert_eq!(shown(&["ID", "WHY"], &row(why), false, Some(10)), format!("ID  WHY\n7   {why}\n"));
        let url = "https://a-name-that-has-no-blanks.example.org and more";
        let narrow = "ID  WHY\n7   https://a-name-that-has-no-blanks.example.org\n    and more\n";
        assert_eq!(shown(&["ID", "WHY"], &row(url), false, Some(25)), narrow);
        assert!(
            shown(&["ID", "WHY"], &row(why), true, Some(25)).contains("\n    \x1b[31mstatus 1 and said so\x1b[m\n")
        );
    }
}
