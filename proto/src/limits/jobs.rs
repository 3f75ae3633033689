//! Requests about jobs.

use super::{
    FieldError, HOLD_AFTER_STEPS, IMAGES, NEGATIVE_PROMPT, NUM_IMAGES, PAGE_SIZE, PROMPT,
    REQUEST_ID, TIMEOUT,
    check::{identifier, text, whole},
    generate::validate_generate,
    upscale::refuse_beside_upscale,
    work::{LEAST, check_work},
};
use crate::v1::SubmitJobRequest;

/// Checks every field of a job that can be checked without its model.
pub fn validate_submit(request: &SubmitJobRequest) -> Result<(), FieldError> {
    let Some(generate) = &request.generate else {
        return Err(FieldError::new(
            "generate",
            "generate is required".to_owned(),
        ));
    };
    validate_generate(generate)?;
    for (field, is_set) in [
        ("private", generate.private == Some(true)),
        (TIMEOUT.field, generate.timeout.is_some()),
    ] {
        if is_set {
            let message = format!("{field} is set, but the job outlives its client");
            return Err(FieldError::new(field, message).with_hint(
                "leave it out, or call Generate, whose job ends with its stream".to_owned(),
            ));
        }
    }
    whole(&HOLD_AFTER_STEPS, request.hold_after_steps)?;
    let count = u32::try_from(request.images.len()).unwrap_or(u32::MAX);
    if generate.upscale.is_some() {
        refuse_beside_upscale([
            (HOLD_AFTER_STEPS.field, request.hold_after_steps > 0),
            (IMAGES.field, count > 0),
        ])?;
    }
    if count == 0 {
        return Ok(());
    }
    whole(&IMAGES, count)?;
    if generate.num_images.is_some_and(|images| images != count) {
        let message = format!(
            "num_images is {}, but `images` has {count}",
            generate.num_images.unwrap_or_default()
        );
        return Err(FieldError::new(NUM_IMAGES.field, message)
            .with_hint("leave num_images out: the number of `images` counts".to_owned()));
    }
    for image in &request.images {
        text(&PROMPT, image.prompt.as_deref().unwrap_or_default())?;
        text(
            &NEGATIVE_PROMPT,
            image.negative_prompt.as_deref().unwrap_or_default(),
        )?;
    }
    check_work(generate, LEAST, count)
}

/// Checks the name of a job: 4 to 32 hexadecimal digits, the first of its id.
pub fn validate_job_id(job_id: &str) -> Result<(), FieldError> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if (4..=32).contains(&job_id.len()) && job_id.bytes().all(is_digit) {
        return Ok(());
    }
    let message =
        format!("job_id {job_id:?} is no name of a job: it has 4 to 32 digits of [0-9a-f]");
    Err(FieldError::new("job_id", message).with_hint("`imgctl jobs` lists them".to_owned()))
}

/// Checks the client's own name for a request; empty is none.
pub fn validate_request_id(request_id: &str) -> Result<(), FieldError> {
    identifier(&REQUEST_ID, request_id)
}

/// Checks how many answers a page may have.
pub fn validate_page_size(page_size: u32) -> Result<(), FieldError> {
    whole(&PAGE_SIZE, page_size)
}
