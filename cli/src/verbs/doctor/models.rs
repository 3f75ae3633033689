//! The models: the default one and whether it fits, and every other that has a name, by its configuration and headers.

use std::time::Duration;

use imgd_client::{Client, Error, GenerateRequest, v1};
use tokio::time::{Instant, timeout};

use super::{finding::Finding, show::counted};
use crate::{failure::Failure, table};

/// All questions about models together take no longer; those that are left are counted.
const LIMIT: Duration = Duration::from_secs(60);

/// Origins of models that somebody gave to imgd; others lie in other programs' folders, where they may be anything.
const GIVEN: [&str; 4] = ["imgd", "config", "added", "cache"];

pub(super) async fn look(client: &Client) -> Vec<Finding> {
    let deadline = Instant::now() + LIMIT;
    let list = match within(deadline, client.models()).await {
        Ok(list) => list,
        Err(finding) => return vec![*finding],
    };
    let mut findings = vec![default_model(client, deadline).await];
    let (mut sound, mut unseen) = (0, 0);
    for model in &list.models {
        if Instant::now() >= deadline {
            unseen += 1;
            continue;
        }
        match health(client, model, deadline).await {
            None => sound += 1,
            Some(finding) => findings.push(finding),
        }
    }
    findings.extend(list.notices.iter().map(|notice| {
        Finding::note("not read", notice.message.as_str())
            .advice("`model_dirs` in the config says where models are looked for")
    }));
    let others = match list.upscalers.len() {
        0 => String::new(),
        number => format!("; {}", counted(number, "upscaler")),
    };
    let known = counted(list.models.len(), "model");
    findings.push(Finding::ok(
        "in all",
        format!("{known}, {sound} in order{others}"),
    ));
    if unseen > 0 {
        let found = format!(
            "{} were not looked at: {} s were over",
            unseen,
            LIMIT.as_secs()
        );
        findings
            .push(Finding::note("left", found).advice("`imgctl models show NAME` looks at one"));
    }
    findings
}

/// Whether a picture of the default model fits into memory now.
async fn default_model(client: &Client, deadline: Instant) -> Finding {
    let plan = match within(deadline, client.plan(GenerateRequest::new(""))).await {
        Ok(plan) => plan,
        Err(finding) => return *finding,
    };
    let name = plan
        .settings
        .map(|settings| settings.model)
        .unwrap_or_default();
    let found = format!(
        "`{name}` takes {}, a picture {} more; {} are free",
        table::size(plan.weights_bytes),
        table::size(plan.working_bytes),
        table::size(plan.available_bytes)
    );
    if plan.fits {
        return Finding::ok("default", found);
    }
    Finding::problem("default", format!("{found}: it does not fit")).advice(
        "end other programs, raise `max_memory`, or name a smaller `default_model` in the config",
    )
}

/// What is wrong with a model; `None` where nothing is.
async fn health(client: &Client, model: &v1::ModelSummary, deadline: Instant) -> Option<Finding> {
    let is_given = GIVEN.contains(&model.origin.as_str());
    if !model.lacks.is_empty() {
        let found = format!("lacks {}", model.lacks.join(", "));
        let advice = "draw with `--config DIR` or `--part PART=FILE`, or give it a name with both: `imgctl models add`";
        return Some(Finding::note(&model.name, found).advice(advice));
    }
    let answer = within(deadline, client.model(Some(&model.name))).await;
    let broken = answer.err()?;
    let at = match model.path.as_str() {
        "" => model.origin.clone(),
        path => path.to_owned(),
    };
    let finding = if is_given {
        Finding::problem
    } else {
        Finding::note
    };
    let advice = broken
        .advice
        .unwrap_or_else(|| remedy(&model.origin, &model.name));
    Some(finding(model.name.clone(), format!("{} ({at})", broken.found)).advice(advice))
}

/// What to do about a model that is broken, by where it came from.
fn remedy(origin: &str, name: &str) -> String {
    match origin {
        "config" => format!("mend its files, or its entry `{name}` in [models] of the config"),
        "added" => format!("`imgctl models rm {name}` forgets it"),
        "cache" => format!(
            "`imgctl models verify {name}` compares its files, `imgctl pull {name}` fetches what is missing"
        ),
        _ => format!(
            "`imgctl models show {name}` says more; it is the program's whose folder it is in"
        ),
    }
}

/// The answer, or the finding that there was none.
async fn within<T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Box<Finding>> {
    let left = deadline.saturating_duration_since(Instant::now());
    let failure = match timeout(left, call).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => Failure::from(error),
        Err(_elapsed) => {
            let found = format!("the daemon has not said within {} s", LIMIT.as_secs());
            return Err(Box::new(Finding::problem("models", found)));
        }
    };
    Err(Box::new(Finding::failed("models", failure)))
}
