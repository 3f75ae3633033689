//! Choices in prompts: `{a|b}`, with weights `{2::a|b}`, and lines of files, `__animal__`, picked by the picture's seed.
//!
//! As users of A1111's dynamic prompts know them. Braces around one option stay as they are: to others they mean
//! emphasis. `\{`, `\|` and `\}` stand for themselves. Reads files of one folder; knows nothing of requests.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

/// Choices within choices, and files that name files, deeper than this are a mistake.
const MAX_DEPTH: usize = 16;
/// Larger files are no lists.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// A prompt has no more bytes than this; what the choices of one may come to before that is checked again.
const MAX_BYTES: usize = 32_768;
/// The longest name of a file.
const MAX_NAME_BYTES: usize = 100;

/// Whether there is anything in a prompt that [`Chooser::expand`] would change.
pub(super) fn are_in(prompt: &str) -> bool {
    let has_choice = prompt.contains('{') && prompt.contains('|');
    let has_escape = ["\\{", "\\|", "\\}"]
        .iter()
        .any(|escape| prompt.contains(escape));
    has_choice
        || has_escape
        || prompt
            .match_indices("__")
            .any(|(at, _)| wildcard(&prompt[at..]).is_some())
}

/// Picks what one prompt of one picture becomes.
pub(super) struct Chooser<'a> {
    folder: &'a Path,
    field: &'static str,
    seed: u64,
    picked: u64,
}

impl<'a> Chooser<'a> {
    /// `field` names the prompt in messages, and gives both prompts of a picture picks of their own; files are in `folder`.
    pub(super) fn new(folder: &'a Path, field: &'static str, seed: u64) -> Self {
        Self {
            folder,
            field,
            seed,
            picked: 0,
        }
    }

    /// The prompt with every choice made.
    ///
    /// Fails naming the field when a file cannot be read, choices are nested too deeply, or the prompt becomes too long.
    pub(super) fn expand(&mut self, prompt: &str) -> Result<String, Failure> {
        self.text(prompt, 0)
    }

    fn text(&mut self, text: &str, depth: usize) -> Result<String, Failure> {
        if depth > MAX_DEPTH {
            return Err(self
                .wrong(&format!("has choices nested deeper than {MAX_DEPTH}"))
                .with_hint("a file of choices may name itself, over others too"));
        }
        let mut made = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let escaped = rest
                .strip_prefix('\\')
                .and_then(|after| after.chars().next())
                .filter(|letter| matches!(letter, '{' | '|' | '}'));
            if let Some(letter) = escaped {
                made.push(letter);
                rest = &rest[2..];
            } else if let Some((options, after)) = choice(rest) {
                let picked = self.one_of(&options, depth)?;
                made.push_str(&picked);
                rest = after;
            } else if let Some((name, after)) = wildcard(rest) {
                let lines = self.lines(name)?;
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                let picked = self.one_of(&lines, depth)?;
                made.push_str(&picked);
                rest = after;
            } else {
                made.push(first);
                rest = &rest[first.len_utf8()..];
            }
            if made.len() > MAX_BYTES {
                return Err(self.wrong(&format!("becomes longer than {MAX_BYTES} bytes")));
            }
        }
        Ok(made)
    }

    /// One of the options, by their weights; what is in it is chosen too.
    fn one_of(&mut self, options: &[&str], depth: usize) -> Result<String, Failure> {
        if options.iter().any(|option| option.contains("$$")) {
            return Err(self
                .wrong("asks for several of a list with `$$`")
                .with_hint("one of a list is chosen: write the choice several times"));
        }
        let options: Vec<(f64, &str)> = options.iter().map(|option| weighted(option)).collect();
        let total: f64 = options.iter().map(|(weight, _)| weight).sum();
        if total <= 0.0 {
            return Err(self.wrong("has a choice whose weights are all 0"));
        }
        let mut left = self.share() * total;
        let mut picked = None;
        for (weight, option) in options.iter().filter(|(weight, _)| *weight > 0.0) {
            picked = Some(*option);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        self.text(picked.unwrap_or_default(), depth + 1)
    }

    /// The next number from 0 to below 1: of the seed, of which prompt it is, and of how many were drawn before.
    fn share(&mut self) -> f64 {
        let mut digest = Sha256::new();
        digest.update(self.field);
        digest.update(self.seed.to_le_bytes());
        digest.update(self.picked.to_le_bytes());
        self.picked += 1;
        let digest = digest.finalize();
        let first = digest
            .iter()
            .take(6)
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        // 48 bits are exact in double precision.
        #[expect(clippy::cast_precision_loss, reason = "48 bits")]
        let share = first as f64 / (1_u64 << 48) as f64;
        share
    }

    /// The lines of a file that say something: not those that are empty or begin with `#`.
    fn lines(&self, name: &str) -> Result<Vec<String>, Failure> {
        let path = self.folder.join(format!("{name}.txt"));
        let known = std::fs::metadata(&path)
            .ok()
            .filter(std::fs::Metadata::is_file);
        let Some(known) = known else {
            return Err(self.unknown(name));
        };
        if known.len() > MAX_FILE_BYTES {
            return Err(self.wrong(&format!("names `{name}`, whose file is larger than 4 MiB")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| {
            self.wrong(&format!(
                "names `{name}`, whose file cannot be read: {error}"
            ))
        })?;
        let lines = text.lines().map(str::trim);
        let lines: Vec<String> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        if lines.is_empty() {
            return Err(self.wrong(&format!("names `{name}`, whose file has no lines")));
        }
        Ok(lines)
    }

    fn unknown(&self, name: &str) -> Failure {
        let mut known = Vec::new();
        list(self.folder, Path::new(""), &mut known);
        known.sort();
        let folder = self.folder.display();
        let hint = if known.is_empty() {
            format!(
                "put a text file of that name into `{folder}`, or draw with `--prompt-syntax plain`"
            )
        } else {
            known.truncate(10);
            format!("there are `{}` in `{folder}`", known.join("`, `"))
        };
        self.wrong(&format!(
            "names `{name}`, and there is no file `{name}.txt`"
        ))
        .with_hint(hint)
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure::invalid(
            self.field,
            format!("the {} {what}", self.field.replace('_', " ")),
        )
    }
}

/// The options of a choice that `text` begins with, and what is behind it; none where there is one option alone.
fn choice(text: &str) -> Option<(Vec<&str>, &str)> {
    let inside = text.strip_prefix('{')?;
    let (mut depth, mut begin, mut is_escaped) = (0_usize, 0, false);
    let mut options = Vec::new();
    for (at, letter) in inside.char_indices() {
        if std::mem::take(&mut is_escaped) {
            continue;
        }
        match letter {
            '\\' => is_escaped = true,
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => {
                options.push(inside[begin..at].trim());
                return (options.len() > 1).then_some((options, &inside[at + 1..]));
            }
            '|' if depth == 0 => {
                options.push(inside[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    None
}

/// `2::text`: the weight of an option, 1 where none is written, and the option.
fn weighted(option: &str) -> (f64, &str) {
    let written = option.split_once("::").and_then(|(weight, text)| {
        let weight: f64 = weight.trim().parse().ok()?;
        (weight.is_finite() && weight >= 0.0).then_some((weight, text.trim()))
    });
    written.unwrap_or((1.0, option))
}

/// The name of a file that `text` begins with, as in `__animal__`, and what is behind it. Names leave the folder nowhere.
fn wildcard(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix("__")?;
    let (name, after) = inside.split_once("__")?;
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    let is_name =
        name.len() <= MAX_NAME_BYTES && name.bytes().all(is_letter) && name.split('/').all(is_part);
    is_name.then_some((name, after))
}

/// The names of files below a folder, three folders deep and a hundred at most.
fn list(folder: &Path, below: &Path, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder.join(below)) else {
        return;
    };
    for entry in entries.flatten().take(100) {
        let name = below.join(entry.file_name());
        if entry.path().is_dir() && below.components().count() < 3 {
            list(folder, &name, names);
        } else if name.extension().is_some_and(|end| end == "txt") && names.len() < 100 {
            names.extend(name.with_extension("").to_str().map(str::to_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(prompt: &str, seed: u64) -> String {
        Chooser::new(Path::new("/none"), "prompt", seed)
            .expand(prompt)
            .unwrap()
    }

    fn all(prompt: &str) -> std::collections::BTreeMap<String, usize> {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..400 {
            *counts.entry(expand(prompt, seed)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn a_seed_picks_the_same_again_and_seeds_pick_everything() {
        assert_eq!(
            expand("a {red|green|blue} fox", 7),
            expand("a {red|green|blue} fox", 7)
        );
        let found = all("a {red|green|blue} fox");
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            ["a blue fox", "a green fox", "a red fox"]
        );
        assert!(
            found.values().all(|count| (90..180).contains(count)),
            "{found:?}"
        );
        // Two choices of one prompt, and both prompts of a picture, do not go together.
        assert_eq!(all("{a|b} {a|b}").len(), 4);
        let negative = |seed| {
            Chooser::new(Path::new("/none"), "negative_prompt", seed)
                .expand("{a|b}")
                .unwrap()
        };
        assert!((0..50).any(|seed| negative(seed) != expand("{a|b}", seed)));
    }

    #[test]
    fn choices_nest_have_weights_and_may_be_empty() {
        let found = all("{a {red|green} fox|3::a dog|0::never}");
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            ["a dog", "a green fox", "a red fox"]
        );
        assert!((250..350).contains(&found["a dog"]), "{found:?}");
        assert_eq!(all("fox{, oil|}").len(), 2);
        assert_eq!(all("{(red:1.2)|[blue]}").len(), 2);
    }

    #[test]
    fn what_is_no_choice_stays_as_it_is() {
        for same in [
            "{masterpiece}",
            "{{best}}",
            "a | b",
            "{a|b",
            "a}",
            "(x:1.2)",
            "{}",
            "snake_case",
            "____",
            "__../x__",
        ] {
            assert_eq!(expand(same, 3), same);
        }
        assert_eq!(expand(r"\{a\|b\} \(c\)", 3), r"{a|b} \(c\)");
        assert_eq!(
            all(r"{a\|b|a\}b}").keys().collect::<Vec<_>>(),
            ["a|b", "a}b"]
        );
        assert!(!are_in("{masterpiece}, (x:1.2), snake_case, \\("));
        assert!(are_in("{a|b}") && are_in(r"\{") && are_in("an __animal__"));
    }

    #[test]
    fn lines_of_files_are_picked_and_chosen_from() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("more")).unwrap();
        std::fs::write(
            folder.path().join("animal.txt"),
            "# ours\n\nfox\n 2::{red|grey} squirrel \n__more/sea__\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("more/sea.txt"), "seal\n").unwrap();
        std::fs::write(folder.path().join("loop.txt"), "__loop__\n").unwrap();
        let of = |prompt: &str, seed| Chooser::new(folder.path(), "prompt", seed).expand(prompt);
        let found: std::collections::BTreeSet<_> = (0..200)
            .map(|seed| of("a __animal__", seed).unwrap())
            .collect();
        let found: Vec<_> = found.iter().map(String::as_str).collect();
        assert_eq!(
            found,
            ["a fox", "a grey squirrel", "a red squirrel", "a seal"]
        );
        let failure = of("a __plant__", 1).unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("prompt"));
        assert!(failure.message.contains("no file `plant.txt`"), "{failure}");
        assert!(
            failure
                .hint
                .unwrap()
                .contains("`animal`, `loop`, `more/sea`")
        );
        assert!(
            of("__loop__", 1)
                .unwrap_err()
                .message
                .contains("nested deeper")
        );
        assert!(of("{2$$a|b}", 1).unwrap_err().message.contains("`$$`"));
        assert!(of("{0::a|0::b}", 1).unwrap_err().message.contains("all 0"));
    }
}
