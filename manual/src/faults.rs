//! What is wrong with a page, for tests that have no `man` at hand.

use crate::Page;

/// What a page is made of; anything else is text that became a command.
const MACROS: [&str; 14] = [
    "TH", "SH", "TP", "PP", "IP", "RS", "RE", "br", "nf", "fi", "ie", "el", "ds", "B",
];

/// The sections that every page begins with.
const FIRST: [&str; 3] = ["NAME", "SYNOPSIS", "DESCRIPTION"];

/// Sentences about what a reader of the page would miss: a section or an option that says nothing, a line that `man`
/// takes for a command, a name without a purpose.
pub fn faults(page: &Page) -> Vec<String> {
    let lines: Vec<&str> = page.text.lines().collect();
    let mut faults = Vec::new();
    let mut sections = Vec::new();
    let mut depth = 0_i32;
    let is_text = |line: Option<&&str>| line.is_some_and(|line| !line.starts_with('.'));
    for (number, line) in lines.iter().enumerate() {
        let mut complain =
            |what: &str| faults.push(format!("{}:{}: {what}", page.file, number + 1));
        let next = lines.get(number + 1);
        if line.starts_with('\'') {
            complain("a command that nobody wrote");
        }
        if let Some(command) = line.strip_prefix('.') {
            let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
            if !MACROS.contains(&name) {
                complain("a command that nobody wrote");
            }
            match name {
                "SH" => {
                    sections.push(rest.trim_matches('"'));
                    if next.is_none_or(|next| next.starts_with(".SH")) {
                        complain("an empty section");
                    }
                }
                "TP" if !is_text(next) => complain("an entry without a term"),
                "TP" if !is_text(lines.get(number + 2)) => complain("an entry that says nothing"),
                "RS" | "nf" => depth += 1,
                "RE" | "fi" => depth -= 1,
                _ => {}
            }
        } else if line.trim().is_empty() {
            complain("an empty line");
        } else if line.contains('`') {
            complain("a backtick");
        }
        if line.matches("\\fB").count() + line.matches("\\fI").count()
            != line.matches("\\fR").count()
        {
            complain("a font that does not end");
        }
    }
    let mut complain = |what: &str| faults.push(format!("{}: {what}", page.file));
    if depth != 0 {
        complain("an indentation that does not end");
    }
    if !sections.starts_with(&FIRST) {
        complain("does not begin with NAME, SYNOPSIS and DESCRIPTION");
    }
    let title = lines.iter().find(|line| line.starts_with(".TH "));
    if title.is_none_or(|title| title.split('"').count() != 7) {
        complain("a title without date, source and manual");
    }
    let name = lines.iter().skip_while(|line| **line != ".SH NAME").nth(1);
    if name.is_none_or(|name| !name.contains(" \\- ")) {
        complain("a name without a purpose");
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::faults;
    use crate::Page;

    const SOUND: &str =
        ".TH a 1 \"\" \"b\" \"c\"\n.SH NAME\na \\- b\n.SH SYNOPSIS\na\n.SH DESCRIPTION\nb\n";

    fn found(text: &str) -> Vec<String> {
        faults(&Page {
            file: "a.1".to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn a_sound_page_has_none() {
        assert_eq!(found(SOUND), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        for (more, fault) in [
            (".SH FILES\n", "a.1:8: an empty section"),
            (".TP\nx\n.TP\ny\nz\n", "a.1:8: an entry that says nothing"),
            (".TP\n.TP\ny\nz\n", "a.1:8: an entry without a term"),
            (
                ".config is a folder\n",
                "a.1:8: a command that nobody wrote",
            ),
            ("'tis\n", "a.1:8: a command that nobody wrote"),
            ("`x`\n", "a.1:8: a backtick"),
            ("\n", "a.1:8: an empty line"),
            ("\\fBx\n", "a.1:8: a font that does not end"),
            (".nf\nx\n", "a.1: an indentation that does not end"),
        ] {
            let found = found(&format!("{SOUND}{more}"));
            assert!(found.contains(&fault.to_owned()), "{more:?}: {found:?}");
        }
        for (old, new, fault) in [
            ("a \\- b", "a", "a.1: a name without a purpose"),
            (" \"\"", "", "a.1: a title without date, source and manual"),
            (
                "SYNOPSIS",
                "FILES",
                "a.1: does not begin with NAME, SYNOPSIS and DESCRIPTION",
            ),
        ] {
            assert_eq!(found(&SOUND.replace(old, new)), [fault]);
        }
    }
}
