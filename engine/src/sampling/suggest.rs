//! Errors for names that are not known, with the nearest known one.
//!
//! Other programs spell samplers in their own ways, often with the schedule in the same breath ("DPM++ 2M Karras");
//! such spellings are understood here, for the hint only.

use super::{samplers, schedules};
use crate::Error;

/// Spellings of other programs, after [`normalise`], that are far from our names.
const SPELLINGS: [(&str, &str); 12] = [
    ("eulerancestral", "euler_a"),
    ("dpm2ancestral", "dpm2_a"),
    ("kdpm2", "dpm2"),
    ("kdpm2ancestral", "dpm2_a"),
    ("plms", "pndm"),
    ("dpmppmultistep", "dpmpp_2m"),
    ("dpmsolvermultistep", "dpmpp_2m"),
    ("dpmppsde", "dpmpp_2m_sde"),
    ("dpmpp2sa", "dpmpp_2s"),
    ("dpmpp2sancestral", "dpmpp_2s"),
    ("dpmsolversinglestep", "dpmpp_2s"),
    ("unipcbh2", "unipc"),
];

/// Names less alike than this are not suggested.
const ALIKE: f64 = 0.7;

/// The error of a sampler that is not known.
pub(super) fn unknown_sampler(name: &str) -> Error {
    let mut wanted = normalise(name);
    let mut schedule = None;
    for info in schedules() {
        if let Some(rest) = wanted
            .strip_suffix(&normalise(info.name))
            .filter(|rest| !rest.is_empty())
        {
            schedule = Some(info.name);
            wanted = rest.to_owned();
            break;
        }
    }
    let own = samplers()
        .iter()
        .map(|info| (normalise(info.name), info.name));
    let classes = samplers()
        .iter()
        .map(|info| (normalise(info.diffusers_class), info.name));
    let spellings = SPELLINGS
        .iter()
        .map(|(spelling, name)| ((*spelling).to_owned(), *name));
    let known: Vec<_> = own.chain(spellings).chain(classes).collect();
    let also = schedule
        .map(|schedule| format!(" with schedule `{schedule}`"))
        .unwrap_or_default();
    let hint = match nearest(&wanted, &known) {
        Some(found) => format!("did you mean `{found}`{also}? List all with `imgctl samplers`"),
        None => "list all with `imgctl samplers`".to_owned(),
    };
    Error::invalid("sampler", format!("sampler `{}` is not known", shown(name))).with_hint(hint)
}

/// The error of a schedule that is not known.
pub(super) fn unknown_schedule(name: &str) -> Error {
    let known: Vec<_> = schedules()
        .iter()
        .map(|info| (normalise(info.name), info.name))
        .collect();
    let hint = match nearest(&normalise(name), &known) {
        Some(found) => format!("did you mean `{found}`? List all with `imgctl samplers`"),
        None => "list all with `imgctl samplers`".to_owned(),
    };
    Error::invalid(
        "schedule",
        format!("schedule `{}` is not known", shown(name)),
    )
    .with_hint(hint)
}

/// Lower-case letters and digits; `+` is how others write `p`, and class names end in `Scheduler`.
fn normalise(name: &str) -> String {
    let name = shown(name).to_lowercase().replace('+', "p");
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = name.strip_suffix("scheduler").unwrap_or(&name);
    name.strip_prefix("sample").unwrap_or(name).to_owned()
}

/// The first 64 characters, without control characters: enough of any name.
fn shown(name: &str) -> String {
    name.chars()
        .filter(|character| !character.is_control())
        .take(64)
        .collect()
}

fn nearest(wanted: &str, known: &[(String, &'static str)]) -> Option<&'static str> {
    let alike = |spelling: &str| strsim::normalized_damerau_levenshtein(wanted, spelling);
    let mut best: Option<(f64, &'static str)> = None;
    for (spelling, name) in known {
        let likeness = alike(spelling);
        if likeness >= ALIKE && best.is_none_or(|(before, _)| likeness > before) {
            best = Some((likeness, name));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_other_programs_lead_to_our_names() {
        let cases = [
            ("dpm++2m", "dpmpp_2m"),
            ("DPM++ 2M", "dpmpp_2m"),
            ("Euler a", "euler_a"),
            ("euler_ancestral", "euler_a"),
            ("k_euler", "euler"),
            ("dpm_2_ancestral", "dpm2_a"),
            ("DPM++ 2M SDE", "dpmpp_2m_sde"),
            ("uni_pc", "unipc"),
            ("PLMS", "pndm"),
            ("EulerDiscreteScheduler", "euler"),
            ("hein", "heun"),
            ("ddmi", "ddim"),
        ];
        for (spelling, name) in cases {
            let error = unknown_sampler(spelling);
            let expected = format!("did you mean `{name}`? List all with `imgctl samplers`");
            assert_eq!(error.hint(), Some(expected.as_str()), "{spelling}");
            assert_eq!(
                error.to_string(),
                format!("sampler `{spelling}` is not known")
            );
            assert_eq!(error.field(), Some("sampler"));
        }
    }

    #[test]
    fn a_schedule_in_the_name_is_told_apart() {
        let error = unknown_sampler("DPM++ 2M Karras");
        assert!(
            error
                .hint()
                .unwrap()
                .starts_with("did you mean `dpmpp_2m` with schedule `karras`?"),
            "{error:?}"
        );
    }

    #[test]
    fn nothing_alike_suggests_nothing() {
        assert_eq!(
            unknown_sampler("xyzzy").hint(),
            Some("list all with `imgctl samplers`")
        );
        assert_eq!(
            unknown_sampler("").hint(),
            Some("list all with `imgctl samplers`")
        );
        let hostile = unknown_sampler(&"\u{1b}[2J".repeat(100_000));
        assert!(hostile.to_string().len() < 400);
    }

    #[test]
    fn schedules_have_suggestions_too() {
        assert!(
            unknown_schedule("Karas")
                .hint()
                .unwrap()
                .contains("`karras`")
        );
        assert!(
            unknown_schedule("SGM Uniform")
                .hint()
                .unwrap()
                .contains("`sgm_uniform`")
        );
    }
}
