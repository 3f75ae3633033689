//! What a request's prompts become: its styles around them, its choices made, for each picture by its own seed.
//!
//! Made when the request comes, and kept with the job: a file or a style that changes later changes no picture.

use imgd_proto::{limits, v1};

use super::{
    choices::{self, Chooser},
    names::Names,
    styles,
};
use crate::{failure::Failure, submission::Submission};

/// Most bytes that the prompts of all pictures may come to.
const MAX_BYTES: usize = 16 << 20;

/// Gives each picture prompts of its own where styles or choices ask for it; else there is nothing to do.
///
/// The request's own prompts stay as they were asked for.
pub(super) fn expand(submission: Submission, names: &Names) -> Result<Submission, Failure> {
    let common = submission.generate();
    if common.prompts_are_final {
        return Ok(submission);
    }
    let has_choices = has_choices(&submission, names);
    if common.styles.is_empty() && !has_choices {
        return Ok(submission);
    }
    let mut bytes = 0;
    let images = (0..submission.image_count()).map(|index| {
        let picture = submission.picture(index);
        let (prompt, negative_prompt) = styles::apply(
            &names.styles,
            &common.styles,
            picture.prompt.reveal(),
            picture
                .negative_prompt
                .as_ref()
                .map(|prompt| prompt.reveal()),
        )?;
        let made = |field, prompt: String| -> Result<String, Failure> {
            let made = if has_choices {
                Chooser::new(&names.wildcard_dir, field, picture.seed).expand(&prompt)?
            } else {
                prompt
            };
            limits::validate_prompt(field, &made)?;
            Ok(made)
        };
        let prompt = made("prompt", prompt)?;
        let negative_prompt = negative_prompt
            .map(|prompt| made("negative_prompt", prompt))
            .transpose()?;
        bytes += prompt.len() + negative_prompt.as_ref().map_or(0, String::len);
        if bytes > MAX_BYTES {
            let message = "the prompts of all pictures come to more than 16 MiB";
            return Err(Failure::invalid("num_images", message)
                .with_hint("ask for fewer pictures, or shorter prompts"));
        }
        let own = submission.request().images.get(index as usize);
        Ok(v1::ImageVariation {
            prompt: Some(prompt),
            negative_prompt,
            ..own.cloned().unwrap_or_default()
        })
    });
    let images = images.collect::<Result<Vec<_>, Failure>>()?;
    Ok(submission.with_prompts(images))
}

/// Whether a prompt of the request, or a template of its styles, has choices that are to be made.
fn has_choices(submission: &Submission, names: &Names) -> bool {
    let common = submission.generate();
    let own = submission.request().images.iter();
    let prompts = own
        .flat_map(|image| [&image.prompt, &image.negative_prompt])
        .flatten()
        .chain(&common.negative_prompt)
        .chain([&common.prompt]);
    let styles = common
        .styles
        .iter()
        .filter_map(|name| names.styles.get(name));
    let templates = styles.flat_map(|style| [&style.prompt, &style.negative]);
    common.prompt_syntax() != v1::PromptSyntax::Plain
        && prompts
            .chain(templates)
            .any(|prompt| choices::are_in(prompt))
}

#[cfg(test)]
mod tests {
    use super::{super::styles::Style, *};

    fn names() -> Names {
        Names {
            models: [("m".to_owned(), "/m".into())].into(),
            default_model: "m".to_owned(),
            styles: [(
                "oil".to_owned(),
                Style {
                    prompt: "{prompt}, {oil|ink}".to_owned(),
                    negative: "photo".to_owned(),
                },
            )]
            .into(),
            ..Names::bare()
        }
    }

    fn expanded(change: impl Fn(&mut v1::GenerateRequest)) -> Submission {
        let mut generate = v1::GenerateRequest {
            prompt: "a {red|green|blue} fox".to_owned(),
            seed: Some(5),
            num_images: Some(20),
            ..v1::GenerateRequest::default()
        };
        change(&mut generate);
        let request = v1::SubmitJobRequest {
            generate: Some(generate),
            ..v1::SubmitJobRequest::default()
        };
        expand(Submission::new(request, || 5), &names()).unwrap()
    }

    fn prompts(submission: &Submission) -> Vec<String> {
        let pictures = (0..submission.image_count()).map(|index| submission.picture(index));
        pictures
            .map(|picture| picture.prompt.reveal().to_owned())
            .collect()
    }

    #[test]
    fn every_picture_makes_its_own_choice_by_its_seed() {
        let all = expanded(|_| ());
        assert_eq!(all.image_count(), 20);
        let all = prompts(&all);
        assert_eq!(
            all.iter().collect::<std::collections::BTreeSet<_>>().len(),
            3
        );
        // The fourth picture of seed 5 is the first of seed 8.
        assert_eq!(
            prompts(&expanded(|request| request.seed = Some(8)))[0],
            all[3]
        );
    }

    #[test]
    fn plain_and_final_prompts_stay_and_what_asks_for_nothing_is_left_alone() {
        let plain = expanded(|request| request.set_prompt_syntax(v1::PromptSyntax::Plain));
        let is_final = expanded(|request| request.prompts_are_final = true);
        let nothing = expanded(|request| request.prompt = "a {red} fox".to_owned());
        for (submission, prompt) in [
            (plain, "a {red|green|blue} fox"),
            (is_final, "a {red|green|blue} fox"),
            (nothing, "a {red} fox"),
        ] {
            assert!(submission.request().images.is_empty());
            assert_eq!(prompts(&submission)[7], prompt);
        }
    }

    #[test]
    fn styles_come_first_and_their_choices_are_made_too() {
        let styled = expanded(|request| request.styles = vec!["oil".to_owned()]);
        let first = styled.picture(0);
        assert_eq!(first.negative_prompt.unwrap().reveal(), "photo");
        assert!(prompts(&styled).iter().all(|prompt| !prompt.contains('{')));
        assert!(
            prompts(&styled)
                .iter()
                .any(|prompt| prompt.ends_with(" fox, ink"))
        );
        let plain = expanded(|request| {
            request.styles = vec!["oil".to_owned()];
            request.set_prompt_syntax(v1::PromptSyntax::Plain);
        });
        assert_eq!(prompts(&plain)[0], "a {red|green|blue} fox, {oil|ink}");
    }

    #[test]
    fn the_same_request_is_recognised_with_the_seed_left_open() {
        let open = |seed: u64| {
            let generate = v1::GenerateRequest {
                prompt: "a {red|green|blue} fox".to_owned(),
                ..v1::GenerateRequest::default()
            };
            let request = v1::SubmitJobRequest {
                generate: Some(generate),
                ..v1::SubmitJobRequest::default()
            };
            expand(Submission::new(request, || seed), &names()).unwrap()
        };
        let earlier = open(5);
        assert!((0..10).all(|seed| open(seed).is_as(earlier.request())));
        let other = expanded(|request| request.num_images = None);
        assert!(other.is_as(earlier.request()));
        let other = expanded(|request| (request.num_images, request.seed) = (None, Some(6)));
        assert!(!other.is_as(earlier.request()));
    }
}
