//! Pages of the manual from the definition of a command line, so that the two cannot differ.
//!
//! What a command's help says becomes its page, by clap_mangen; what no help says (files, variables, statuses) comes as
//! [`Section`]s from the program. Writing the pages somewhere is the program's affair. No page holds a date: the same
//! program gives the same bytes.
#![warn(missing_docs)]

mod examples;
mod faults;
mod tidy;

use std::io;

use clap::{Command, builder::PossibleValue};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

pub use faults::faults;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The file's name: `imgctl-jobs-list.1`.
    pub file: String,
    /// Its text, for `man`.
    pub text: String,
}

/// A part of the first page that no help has.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its title, in capitals.
    pub title: &'static str,
    /// What it begins with; may be empty when there are entries.
    pub text: String,
    /// Terms and what they mean.
    pub entries: Vec<(String, String)>,
}

/// What the pages of one program are made of.
#[derive(Debug, Clone)]
pub struct Manual {
    /// The program's command line. Verbs that are hidden get no page.
    pub command: Command,
    /// What the first page says besides.
    pub sections: Vec<Section>,
    /// Pages of other programs that every page names: `imgd(1)`.
    pub see_also: Vec<&'static str>,
}

impl Manual {
    /// The program's page, and one for each verb and each verb of a verb.
    ///
    /// Fails never in practice: the pages are written into memory.
    pub fn pages(&self) -> io::Result<Vec<Page>> {
        let mut command = self.command.clone().disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        self.add(&command, &[], &mut pages)?;
        Ok(pages)
    }

    /// `above`: names of the pages of the commands that this one is a verb of, the program's first.
    fn add(&self, command: &Command, above: &[String], pages: &mut Vec<Page>) -> io::Result<()> {
        let name = page_name(command);
        pages.push(Page {
            file: format!("{name}.1"),
            text: self.page(command, above)?,
        });
        let above = [above, &[name]].concat();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            self.add(verb, &above, pages)?;
        }
        Ok(())
    }

    fn page(&self, command: &Command, above: &[String]) -> io::Result<String> {
        let version = self.command.get_version().unwrap_or_default();
        // an empty argument has to be written as one, or the next takes its place
        let man = Man::new(in_brief(command.clone()))
            .date("\"\"")
            .source(format!("imgd {version}"))
            .manual("Manual of imgd");
        let mut text = Vec::new();
        man.render_title(&mut text)?;
        man.render_name_section(&mut text)?;
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        man.render_options_section(&mut text)?;
        if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
            man.render_subcommands_section(&mut text)?;
        }
        let mut roff = Roff::new();
        if let Some(help) = command.get_after_help() {
            examples::write(&mut roff, &help.to_string());
        }
        if above.is_empty() {
            for section in &self.sections {
                write(&mut roff, section);
            }
        }
        let others = above.iter().map(|name| format!("{name}(1)"));
        let others: Vec<String> = others
            .chain(self.see_also.iter().map(ToString::to_string))
            .collect();
        if !others.is_empty() {
            roff.control("SH", ["SEE ALSO"]);
            roff.text([roman(others.join(", "))]);
        }
        roff.to_writer(&mut text)?;
        Ok(tidy::tidy(&String::from_utf8_lossy(&text)))
    }
}

/// The command with the usage that its help has, not with every option in one paragraph, and with a line, not a list, of
/// values that explain themselves.
fn in_brief(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    command.override_usage(usage).mut_args(|argument| {
        let values = argument.get_possible_values();
        let explained = values.iter().any(|value| value.get_help().is_some());
        if values.is_empty() || explained || argument.is_hide_possible_values_set() {
            return argument;
        }
        let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
        let help = argument.get_help().map(ToString::to_string);
        let help = format!(
            "{} [possible values: {}]",
            help.unwrap_or_default(),
            names.join(", ")
        );
        argument.help(help).hide_possible_values(true)
    })
}

/// `imgctl-jobs-list`.
fn page_name(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

fn write(roff: &mut Roff, section: &Section) {
    roff.control("SH", [section.title]);
    if !section.text.is_empty() {
        roff.text([roman(section.text.as_str())]);
    }
    for (term, meaning) in &section.entries {
        roff.control("TP", []);
        roff.text([bold(term.as_str())]);
        roff.text([roman(meaning.as_str())]);
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::{Manual, Page, Section, faults};

    fn manual() -> Manual {
        let draw = Command::new("draw")
            .about("Draw something")
            .arg(
                Arg::new("size")
                    .long("size")
                    .value_parser(["small", "large"])
                    .help("How large; see `tool sizes`"),
            )
            .after_help("Examples:\n  tool draw --size small\n  'tool' draw");
        let secret = Command::new("secret").about("Nobody's affair").hide(true);
        Manual {
            command: Command::new("tool")
                .version("1.2.3")
                .about("Does things")
                .subcommand(draw)
                .subcommand(secret),
            sections: vec![Section {
                title: "FILES",
                text: String::new(),
                entries: vec![("~/.tool".to_owned(), "What it knows.".to_owned())],
            }],
            see_also: vec!["other(1)"],
        }
    }

    fn pages() -> [Page; 2] {
        manual().pages().unwrap().try_into().unwrap()
    }

    #[test]
    fn every_visible_verb_has_a_page_without_faults() {
        let pages = pages();
        let files = pages.each_ref().map(|page| page.file.as_str());
        assert_eq!(files, ["tool.1", "tool-draw.1"]);
        for page in &pages {
            assert_eq!(faults(page), Vec::<String>::new(), "{}", page.text);
        }
    }

    #[test]
    fn the_first_page_has_the_program_s_own_sections_and_the_others_lead_to_it() {
        let [tool, draw] = pages();
        assert!(
            tool.text
                .contains(".SH FILES\n.TP\n\\fB\\(ti/.tool\\fR\nWhat it knows.\n")
        );
        assert!(tool.text.ends_with(".SH \"SEE ALSO\"\nother(1)\n"));
        assert!(draw.text.ends_with(".SH \"SEE ALSO\"\ntool(1), other(1)\n"));
        assert!(!draw.text.contains("FILES") && !tool.text.contains("secret"));
    }

    #[test]
    fn usage_and_values_are_those_of_the_help() {
        let [tool, draw] = pages();
        assert!(
            tool.text.contains(".SH SYNOPSIS\n\\fBtool\\fR [COMMAND]\n"),
            "{}",
            tool.text
        );
        assert!(
            draw.text
                .contains("\nHow large; see \\fBtool sizes\\fR [possible values: small, large]\n")
        );
    }

    #[test]
    fn the_title_has_an_empty_date_and_the_version() {
        let [_, draw] = pages();
        let title = ".TH tool-draw 1 \"\" \"imgd 1.2.3\" \"Manual of imgd\"\n";
        assert!(draw.text.contains(title), "{}", draw.text);
    }
}
