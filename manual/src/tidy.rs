//! Text for `man` as every `man` shows it: signs that mean something to roff, and lines that it would take amiss.

/// Makes words between backticks bold, names the signs that are typeset as others, and drops what leaves holes: empty
/// lines, and breaks after breaks.
pub(crate) fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut last = "";
    // each part brings the same two lines that say what an apostrophe is; once is enough
    let preamble: Vec<&str> = text.lines().take(2).collect();
    for (number, line) in text.lines().enumerate() {
        let is_hole = line.trim().is_empty() || (line == ".br" && last == ".br");
        let is_again = number >= 2 && preamble.contains(&line);
        if is_hole || is_again {
            continue;
        }
        last = line;
        tidy += &signs(&bold(line.trim_end()));
        tidy.push('\n');
    }
    tidy
}

/// `word` in backticks to bold, where every backtick of the line has its fellow.
fn bold(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return line.to_owned();
    }
    let mut text = String::with_capacity(line.len());
    for (number, part) in parts.into_iter().enumerate() {
        if number % 2 == 1 {
            text += &format!("\\fB{part}\\fR");
        } else {
            text += part;
        }
    }
    text
}

/// Signs that a typesetter takes for accents and quotation marks.
fn signs(line: &str) -> String {
    let line = line.replace('`', "\\(ga").replace('~', "\\(ti");
    line.replace('^', "\\(ha")
}

#[cfg(test)]
mod tests {
    use super::tidy;

    #[test]
    fn words_in_backticks_are_bold_and_a_lone_backtick_is_one() {
        assert_eq!(
            tidy("a\nb\nsee `x y`, `z`"),
            "a\nb\nsee \\fBx y\\fR, \\fBz\\fR\n"
        );
        assert_eq!(tidy("a\nb\none ` ~ ^"), "a\nb\none \\(ga \\(ti \\(ha\n");
    }

    #[test]
    fn holes_and_repeated_preambles_go() {
        assert_eq!(tidy("p\nq\n.br\n\n.br\nx\np\nq\ny  "), "p\nq\n.br\nx\ny\n");
    }
}
