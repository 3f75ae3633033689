//! What stands at the end of a help: remarks in lines that flow, and examples in lines that must not.

use clap_mangen::roff::{Roff, roman};

/// How a help marks a line that is to stay as it is.
const INDENT: &str = "  ";

/// Writes it as a section: EXAMPLES when it says that it has nothing else, NOTES otherwise.
pub(crate) fn write(roff: &mut Roff, help: &str) {
    let lines: Vec<&str> = help
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let rest = match lines.split_first() {
        None => return,
        Some((&("Example:" | "Examples:"), rest)) => {
            roff.control("SH", ["EXAMPLES"]);
            rest
        }
        Some(_) => {
            roff.control("SH", ["NOTES"]);
            &lines
        }
    };
    let stays = |line: &&str| line.starts_with(INDENT);
    for (number, group) in rest
        .chunk_by(|one, next| stays(one) == stays(next))
        .enumerate()
    {
        if stays(&group[0]) {
            roff.control("RS", ["4"]).control("nf", []);
            for line in group {
                roff.text([roman(line.strip_prefix(INDENT).unwrap_or(line))]);
            }
            roff.control("fi", []).control("RE", []);
        } else {
            if number > 0 {
                roff.control("PP", []);
            }
            for line in group {
                roff.text([roman(*line)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap_mangen::roff::Roff;

    use super::write;

    fn written(help: &str) -> String {
        let mut roff = Roff::new();
        write(&mut roff, help);
        roff.to_roff()
    }

    #[test]
    fn examples_keep_their_lines() {
        assert_eq!(
            written("Examples:\n  a  b\n  .c"),
            ".SH EXAMPLES\n.RS 4\n.nf\na  b\n\\&.c\n.fi\n.RE\n"
        );
    }

    #[test]
    fn remarks_flow_around_examples() {
        assert_eq!(
            written("One says:\n  a\n\nAnd then."),
            ".SH NOTES\nOne says:\n.RS 4\n.nf\na\n.fi\n.RE\n.PP\nAnd then.\n"
        );
        assert_eq!(written("\n"), "");
    }
}
