//! `imgctl models known` and `imgctl models licence`: what can be pulled by name, and under which terms. No daemon is asked.

use imgd_models::{Entry, HubCache, catalogue, entry, nearest};
use serde_json::{Value, json};

use crate::{Context, failure::Failure, json, table};

/// Lists the models that have a name, with what is known before they are fetched.
pub(super) fn list(context: &Context) -> Result<(), Failure> {
    let cache = context.hub.cache().ok();
    if context.json {
        for entry in catalogue() {
            let object = json::object("known_model", object(entry, cache.as_ref()));
            context.terminal.line(&object.to_string())?;
        }
        return Ok(());
    }
    let heading = ["NAME", "PULLED", "WEIGHTS", "STEPS", "LICENCE", "WHAT"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(catalogue().iter().map(|entry| {
        let is_there = is_pulled(entry, cache.as_ref());
        vec![
            entry.name.clone(),
            if is_there { "yes" } else { "" }.to_owned(),
            format!("~{}", table::size(entry.weights_bytes())),
            entry.defaults.num_inference_steps.to_string(),
            entry.licence.name.clone(),
            entry.title.clone(),
        ]
    }));
    let lines = table::fitted(&rows, context.terminal.columns());
    context.terminal.line(&lines.join("\n"))
}

/// Says what a model may be used for.
pub(super) fn licence(name: &str, context: &Context) -> Result<(), Failure> {
    let Some(entry) = entry(name) else {
        let near = nearest(name);
        let hint = if near.is_empty() {
            "`imgctl models known` lists the names; others have theirs on their page at the hub"
                .to_owned()
        } else {
            format!("did you mean {}?", near.join(", "))
        };
        return Err(Failure::usage(format!("no model is called `{name}`")).hint(hint));
    };
    if context.json {
        let cache = context.hub.cache().ok();
        let object = json::object("known_model", object(entry, cache.as_ref()));
        return context.terminal.line(&object.to_string());
    }
    let licence = &entry.licence;
    let consent = if licence.gated {
        format!(
            "the hub asks for consent: accept it at https://huggingface.co/{}, then set HF_TOKEN",
            entry.source.repo
        )
    } else {
        "the hub asks for nothing, as far as is known here".to_owned()
    };
    let rows = [
        ("model", format!("{} ({})", entry.name, entry.title)),
        ("source", entry.source.to_string()),
        ("licence", licence.name.clone()),
        ("text", licence.url.clone()),
        ("consent", consent),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    context.terminal.line(&table::lines(&rows).join("\n"))
}

fn is_pulled(entry: &Entry, cache: Option<&HubCache>) -> bool {
    cache.is_some_and(|cache| cache.find(&entry.source).is_some())
}

fn object(entry: &Entry, cache: Option<&HubCache>) -> Value {
    let defaults = &entry.defaults;
    json!({
        "name": entry.name,
        "aliases": entry.names().skip(1).collect::<Vec<_>>(),
        "title": entry.title,
        "source": entry.source.to_string(),
        "is_pulled": is_pulled(entry, cache),
        "weights_bytes": entry.weights_bytes(),
        "licence": {
            "name": entry.licence.name,
            "url": entry.licence.url,
            "is_gated": entry.licence.gated,
        },
        "defaults": {
            "sampler": defaults.sampler,
            "schedule": defaults.schedule,
            "num_inference_steps": defaults.num_inference_steps,
            "guidance_scale": defaults.guidance_scale,
            "width_px": defaults.width_px,
            "height_px": defaults.height_px,
        },
    })
}
