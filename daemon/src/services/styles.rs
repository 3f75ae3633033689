//! Styles: named templates that a request puts its prompts into.

use std::collections::BTreeMap;

use super::names::nearest;
use crate::failure::Failure;

/// Where a template has the prompt.
const PROMPT: &str = "{prompt}";

/// An entry of `[styles]`. A template without `{prompt}` stands behind the prompt, after a comma.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Style {
    /// Around the prompt; empty leaves it as it is.
    pub prompt: String,
    /// Around the negative prompt; empty leaves it as it is.
    pub negative: String,
}

/// Both prompts in the styles of those names, the first innermost.
///
/// Fails naming the field on a name that no style has.
pub(super) fn apply(
    styles: &BTreeMap<String, Style>,
    names: &[String],
    prompt: &str,
    negative_prompt: Option<&str>,
) -> Result<(String, Option<String>), Failure> {
    let mut prompt = prompt.to_owned();
    let mut negative = negative_prompt.map(str::to_owned);
    for name in names {
        let style = styles.get(name).ok_or_else(|| unknown(styles, name))?;
        prompt = within(&style.prompt, &prompt);
        if !style.negative.is_empty() {
            negative = Some(within(
                &style.negative,
                negative.as_deref().unwrap_or_default(),
            ));
        }
    }
    Ok((prompt, negative))
}

fn within(template: &str, prompt: &str) -> String {
    if template.is_empty() {
        return prompt.to_owned();
    }
    if template.contains(PROMPT) {
        return template.replace(PROMPT, prompt);
    }
    if prompt.trim().is_empty() {
        return template.to_owned();
    }
    format!("{prompt}, {template}")
}

fn unknown(styles: &BTreeMap<String, Style>, name: &str) -> Failure {
    let known: Vec<&str> = styles.keys().map(String::as_str).collect();
    let hint = match (nearest(name, &known), known.as_slice()) {
        (_, []) => "there are none: write some into `[styles]` of the daemon's config".to_owned(),
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, known) => format!("there are `{}`", known.join("`, `")),
    };
    Failure::invalid("styles", format!("style `{name}` is not known")).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn styles() -> BTreeMap<String, Style> {
        let style = |prompt: &str, negative: &str| Style {
            prompt: prompt.to_owned(),
            negative: negative.to_owned(),
        };
        BTreeMap::from([
            ("oil".to_owned(), style("{prompt}, oil painting", "photo")),
            ("old".to_owned(), style("an old picture of {prompt}", "")),
            ("sharp".to_owned(), style("sharp", "{prompt}, blurry")),
        ])
    }

    fn of(names: &[&str], prompt: &str, negative: Option<&str>) -> (String, Option<String>) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        apply(&styles(), &names, prompt, negative).unwrap()
    }

    #[test]
    fn styles_stand_around_prompts_one_in_the_other() {
        assert_eq!(
            of(&["oil"], "a fox", None),
            ("a fox, oil painting".into(), Some("photo".into()))
        );
        assert_eq!(
            of(&["oil", "old"], "a fox", None).0,
            "an old picture of a fox, oil painting"
        );
        assert_eq!(
            of(&["old", "sharp"], "a fox", Some("red")),
            (
                "an old picture of a fox, sharp".into(),
                Some("red, blurry".into())
            )
        );
        assert_eq!(of(&["old"], "a fox", None).1, None);
        assert_eq!(of(&["oil"], "a fox", Some("red")).1.unwrap(), "red, photo");
    }

    #[test]
    fn an_unknown_style_is_refused_with_the_nearest() {
        let failure = apply(&styles(), &["oli".to_owned()], "a", None).unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("styles"));
        assert_eq!(failure.hint.as_deref(), Some("did you mean `oil`?"));
        let none = apply(&BTreeMap::new(), &["oil".to_owned()], "a", None).unwrap_err();
        assert!(none.hint.unwrap().contains("[styles]"));
    }
}
