//! `imgctl pull`: fetches a model into the Hugging Face cache. The daemon has no part in it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    time::Duration,
};

use clap::{Args, ValueEnum};
use imgd_models::{Entry, HubCache, Source};
use serde_json::json;

use crate::{
    Context, durations,
    failure::{Failure, exit},
    hub::{self, Meter, Order, Plan},
    json, table,
    terminal::Terminal,
};

/// How often a program is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// A name from `imgctl models known`, or hf:ORG/REPO, with @REVISION and :FILE where wanted
    #[arg(value_name = "NAME|hf:ORG/REPO")]
    model: String,
    /// Say what would be taken, with sizes, and take nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the newest commit; else a model that was pulled before stays at its commit
    #[arg(long)]
    update: bool,
    /// Take every file of the repository; else those of the model, in one copy
    #[arg(long)]
    all: bool,
    /// Which copy of the weights, where there are several
    #[arg(long, value_enum, default_value_t = Variant::Smallest, hide_possible_values = true, value_name = "smallest|full|fp16")]
    variant: Variant,
    /// Files at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    parallel: u8,
    /// Give a connection up when nothing came for this long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = durations::timeout)]
    timeout: Duration,
    /// Attempts in a row that may bring nothing
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=100))]
    retries: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Variant {
    Smallest,
    Full,
    Fp16,
}

/// The bar of the work, which goes from the terminal with this.
#[derive(Default)]
struct Shown(Arc<OnceLock<Meter>>);

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(meter) = self.0.get() {
            meter.hide();
        }
    }
}

/// How the work is told of, where no daemon and no runtime is at hand.
#[derive(Clone, Copy)]
struct Voice {
    terminal: Terminal,
    json: bool,
    quiet: bool,
}

impl Pull {
    /// What to say when Ctrl-C ends it.
    pub(super) fn interrupted(&self) -> Failure {
        Failure::interrupted("what has come is kept")
            .hint(format!("`imgctl pull {}` goes on from there", self.model))
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (entry, source) = named(&self.model)?;
        let cache = context.hub.cache()?;
        let order = Order {
            access: context.hub.access.clone(),
            cache,
            source,
            update: self.update,
            all: self.all,
            variant: match self.variant {
                Variant::Smallest => hub::Variant::Smallest,
                Variant::Full => hub::Variant::Full,
                Variant::Fp16 => hub::Variant::Fp16,
            },
            parallel: self.parallel.into(),
            silence: self.timeout,
            retries: self.retries,
        };
        let voice = Voice {
            terminal: context.terminal,
            json: context.json,
            quiet: context.quiet,
        };
        // Ctrl-C drops this future and ends the program while the work goes on: what is written stays, and nothing is
        // visible yet.
        let shown = Shown::default();
        let meter = Arc::clone(&shown.0);
        let work = move || self.work(&order, entry, voice, &meter);
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Failure::new(
                exit::FAILED,
                format!("the download failed: {error}"),
            )),
        }
    }

    fn work(
        &self,
        order: &Order,
        entry: Option<&Entry>,
        voice: Voice,
        shown: &OnceLock<Meter>,
    ) -> Result<(), Failure> {
        let plan = hub::plan(order, &|text| voice.note(text))?;
        voice.plan(order, &plan, entry)?;
        if self.dry_run {
            return voice.files(order, &plan);
        }
        let draws = voice.terminal.draws_progress() && !voice.quiet && !voice.json;
        let meter = shown
            .get_or_init(|| Meter::new(plan.total_bytes(), draws, move |text| voice.note(text)));
        let outcome = voice.following(meter, || hub::take(order, &plan, meter));
        meter.hide();
        let path = outcome?;
        let (received, elapsed) = (meter.received(), meter.elapsed());
        let model = self.name(order, &path);
        if voice.json {
            let fields = json!({
                "source": order.source.to_string(),
                "commit": plan.commit,
                "path": path,
                "model": model,
                "received_bytes": received,
                "elapsed_secs": elapsed.as_secs_f64(),
            });
            return voice
                .terminal
                .line(&json::object("pulled", fields).to_string());
        }
        if !voice.quiet {
            voice.terminal.notice(&format!(
                "{} came in {}; draw with `imgctl generate -m {model} \"…\"`",
                table::size(received),
                durations::short(elapsed)
            ));
        }
        voice.terminal.line(&path.display().to_string())
    }

    /// The name that leads to what was fetched: as it was typed, where that leads there.
    fn name(&self, order: &Order, path: &Path) -> String {
        if order.cache.find(&order.source).as_deref() == Some(path) {
            self.model.clone()
        } else {
            path.display().to_string()
        }
    }
}

/// The model that was named, and where it comes from.
pub(super) fn named(model: &str) -> Result<(Option<&'static Entry>, Source), Failure> {
    if let Some(entry) = imgd_models::entry(model) {
        return Ok((Some(entry), entry.source.clone()));
    }
    if model.starts_with("hf:") {
        return match model.parse() {
            Ok(source) => Ok((None, source)),
            Err(error) => {
                let error: imgd_models::InvalidSource = error;
                Err(Failure::usage(error.to_string())
                    .hint("such as hf:org/repo@main:model.safetensors"))
            }
        };
    }
    let near = imgd_models::nearest(model);
    let hint = if near.is_empty() {
        "`imgctl models known` lists the names; any other repository is hf:ORG/REPO".to_owned()
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    Err(Failure::usage(format!("no model is called `{model}`")).hint(hint))
}

impl Voice {
    fn note(self, text: &str) {
        if !self.quiet {
            self.terminal.notice(text);
        }
    }

    /// Says what is to come, before it comes.
    fn plan(self, order: &Order, plan: &Plan, entry: Option<&Entry>) -> Result<(), Failure> {
        let (total, missing) = (plan.total_bytes(), plan.missing_bytes(order));
        let files = &plan.chosen.files;
        if self.json {
            let fields = json!({
                "source": order.source.to_string(),
                "commit": plan.commit,
                "file_count": files.len(),
                "total_bytes": total,
                "missing_bytes": missing,
                "skipped_file_count": plan.chosen.left.0,
                "skipped_bytes": plan.chosen.left.1,
                "licence": entry.map(|entry| &entry.licence.name),
            });
            return self
                .terminal
                .line(&json::object("pulling", fields).to_string());
        }
        if self.quiet {
            return Ok(());
        }
        if let Some(entry) = entry {
            let licence = &entry.licence;
            self.terminal.notice(&format!(
                "{}, under {}: {}",
                entry.title, licence.name, licence.url
            ));
        }
        let missing = match missing {
            0 => "all there".to_owned(),
            _ if missing == total => "none there yet".to_owned(),
            _ => format!("{} to come", table::size(missing)),
        };
        let (count, bytes) = plan.chosen.left;
        let left = match count {
            0 => String::new(),
            1 => format!("; one other of {} is not needed", table::size(bytes)),
            _ => format!("; {count} others of {} are not needed", table::size(bytes)),
        };
        self.terminal.notice(&format!(
            "{} at {}: {} of {}, {missing}{left}",
            order.source.repo,
            &plan.commit[..12],
            match files.len() {
                1 => "one file".to_owned(),
                count => format!("{count} files"),
            },
            table::size(total),
        ));
        Ok(())
    }

    /// Lists the files.
    fn files(self, order: &Order, plan: &Plan) -> Result<(), Failure> {
        let mut rows = vec![["FILE", "SIZE", "THERE"].map(str::to_owned).to_vec()];
        for file in &plan.chosen.files {
            let there = plan.bytes_there(order, file);
            if self.json {
                let fields = json!({
                    "path": file.path, "size_bytes": file.size, "there_bytes": there, "hash": file.blob,
                });
                let object = json::object("pull_file", fields);
                self.terminal.line(&object.to_string())?;
            }
            let there = match there {
                0 => String::new(),
                all if all == file.size => "all".to_owned(),
                part => table::size(part),
            };
            rows.push(vec![file.path.clone(), table::size(file.size), there]);
        }
        if self.json {
            return Ok(());
        }
        self.terminal.line(&table::lines(&rows).join("\n"))
    }

    /// Does the work, and tells a program once a second how far it is.
    fn following(
        self,
        meter: &Meter,
        work: impl FnOnce() -> Result<PathBuf, Failure>,
    ) -> Result<PathBuf, Failure> {
        if !self.json {
            return work();
        }
        let (done, until_done) = sync_channel::<()>(1);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while until_done.recv_timeout(TOLD_EVERY) == Err(RecvTimeoutError::Timeout) {
                    let at = meter.read();
                    let fields = json!({
                        "done_bytes": at.done,
                        "total_bytes": at.total,
                        "bytes_per_sec": at.bytes_per_sec,
                        "eta_secs": at.left.map(|left| left.as_secs_f64()),
                    });
                    let object = json::object("pull_progress", fields);
                    // Who does not listen any more is told so at the end.
                    drop(self.terminal.line(&object.to_string()));
                }
            });
            let outcome = work();
            drop(done);
            outcome
        })
    }
}

/// What the environment says of hubs and their cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct HubSettings {
    /// How hubs are asked.
    pub(crate) access: hub::Access,
    /// The Hugging Face cache; none without a home.
    pub(crate) cache: Option<PathBuf>,
}

impl HubSettings {
    /// The cache.
    pub(crate) fn cache(&self) -> Result<HubCache, Failure> {
        let Some(root) = &self.cache else {
            return Err(
                Failure::usage("there is no home directory with a cache in it")
                    .hint("HF_HUB_CACHE names a folder for models"),
            );
        };
        // A relative folder is one of the folder in which the command was typed.
        let root = std::path::absolute(root).unwrap_or_else(|_| root.clone());
        Ok(HubCache::new(root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_by_the_catalogue_or_by_their_repository() {
        let (entry, source) = named("Flux-Schnell").unwrap();
        assert_eq!(entry.unwrap().name, "flux:schnell");
        assert_eq!(source.to_string(), "hf:black-forest-labs/FLUX.1-schnell");
        let (entry, source) = named("hf:a/b@v1:c.safetensors").unwrap();
        assert!(entry.is_none());
        assert_eq!(source.file.as_deref(), Some("c.safetensors"));
        let failure = named("flux").unwrap_err();
        assert!(failure.hint.unwrap().contains("flux:dev"));
        assert!(named("hf:../b").is_err());
        assert!(
            named("nothing-like-it")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("hf:ORG/REPO")
        );
    }
}
