//! `imgctl batch`: the pictures of a file of prompts, each made once however often the command is run.

mod csv_form;
mod fields;
mod jsonl_form;
mod ledger;
mod lines;
mod orders;
mod rows;
mod run;
mod tally;
mod text_form;

use std::path::{Path, PathBuf};

use clap::Args;
use imgd_client::{Client, KeepAlive};
use serde_json::json;

use self::{
    ledger::Ledger,
    lines::{Form, Source},
    orders::{Defaults, Order, orders},
    run::{Manner, Run, dry},
};
use crate::{
    Context, durations,
    failure::Failure,
    jobs::words,
    json,
    output::fixed_folder,
    picture_args::{FileArgs, PictureArgs, Priority},
    table,
};

#[derive(Debug, Args)]
#[command(
    after_help = "A line of a text file is a prompt, and flags behind it if it has any:
  a red apple
  a blue bird --seed 7 --steps 20 --size 256x384 --output bird.png
JSON lines and the columns of a CSV file have the same names: prompt, negative_prompt, model, width_px,
height_px, num_inference_steps, guidance_scale, seed, num_images, sampler, schedule, clip_skip, precision,
format, jpeg_quality, omit_metadata, priority, keep_alive, output.

Examples:
  imgctl batch prompts.txt -o pictures/ --size 256x256
  imgctl batch jobs.jsonl --dry-run
  cut -f2 titles.tsv | imgctl batch - -o '{prompt}.webp' -j 8

The same command again makes what is missing and nothing twice."
)]
pub(crate) struct Batch {
    /// JSON lines (.jsonl), CSV (.csv) or text, one prompt a line; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Form of the file [default: by its extension, else txt]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "jsonl|csv|txt"
    )]
    input_format: Option<Form>,
    #[command(flatten)]
    picture: PictureArgs,
    /// Folder, or a name with {prompt} {seed} {index} {model} {sampler} {steps} {width} {height} {variation_seed} [default: {prompt}-{seed}.png]
    #[arg(long, short, value_name = "PATH", help_heading = "Output")]
    output: Option<PathBuf>,
    #[command(flatten)]
    files: FileArgs,
    /// Overwrite files of the names that lines give, instead of refusing the batch
    #[arg(long, help_heading = "Output")]
    force: bool,
    /// Show what would be made and where, and make nothing
    #[arg(long, help_heading = "Service")]
    dry_run: bool,
    /// Jobs kept in the daemon at a time, 1 to 64
    #[arg(long, short, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=64), help_heading = "Service")]
    jobs: u8,
    /// How urgent it is
    #[arg(long, value_enum, default_value_t = Priority::Batch, hide_possible_values = true, value_name = "interactive|batch|background", help_heading = "Service")]
    priority: Priority,
    /// Keep the model in memory afterwards: 5m, 300 (seconds), 0 unloads at once, -1 never [default: the daemon's]
    #[arg(long, value_name = "TIME", value_parser = durations::keep_alive, allow_hyphen_values = true, help_heading = "Service")]
    keep_alive: Option<KeepAlive>,
    /// Submit nothing more once a line has failed, instead of going on and telling at the end
    #[arg(long, help_heading = "Service")]
    fail_fast: bool,
    /// On Ctrl-C cancel the jobs under way; without it they go on in the daemon
    #[arg(long, help_heading = "Service")]
    cancel_on_interrupt: bool,
    /// What the file says, once `prepare` has read it.
    #[arg(skip)]
    prepared: Option<Prepared>,
}

#[derive(Debug)]
struct Prepared {
    /// What errors call the file.
    source: String,
    orders: Vec<Order>,
    ledger: Ledger,
}

impl Batch {
    /// Reads the file and checks every line: nothing is submitted as long as one is wrong.
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        let output = self.output.as_deref();
        let home = fixed_folder(output);
        check_home(&home)?;
        let source = Source::read(&self.file, self.input_format)?;
        let lines = source.lines()?;
        let ledger = Ledger::open(&home)?;
        let defaults = Defaults {
            picture: &self.picture,
            file: &self.files,
            output,
            overwrites: self.force,
            priority: self.priority,
            keep_alive: self.keep_alive,
        };
        let orders =
            orders(lines, &defaults, &ledger).map_err(|problems| source.failure(&problems))?;
        self.prepared = Some(Prepared {
            source: source.name,
            orders,
            ledger,
        });
        Ok(())
    }

    /// Makes what is missing.
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(prepared) = self.prepared else {
            unreachable!("`prepare` ran before")
        };
        if self.dry_run {
            return show(context, &prepared.orders);
        }
        let manner = Manner {
            jobs: self.jobs.into(),
            fail_fast: self.fail_fast,
            cancel_on_interrupt: self.cancel_on_interrupt,
        };
        // What is done needs no daemon.
        if prepared.orders.iter().all(Order::is_done) {
            return run::nothing_to_do(context, &prepared.source, &prepared.orders);
        }
        let client = Client::connect(context.connect.clone()).await?;
        Run::new(
            context,
            client,
            &prepared.source,
            &prepared.orders,
            prepared.ledger,
        )
        .all(manner)
        .await
    }
}

/// Fails once, not for each line, where the folder is missing.
fn check_home(home: &Path) -> Result<(), Failure> {
    if home.is_dir() {
        return Ok(());
    }
    let home = home.display();
    Err(
        Failure::cannot_create(format!("there is no folder `{home}`"))
            .hint(format!("make it with `mkdir -p '{home}'`")),
    )
}

fn show(context: &Context, orders: &[Order]) -> Result<(), Failure> {
    let mut rows = vec![
        ["LINE", "STATE", "SEED", "PROMPT", "FILE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for order in orders {
        for (index, is_there, path) in dry(order) {
            let seed = order
                .request
                .seed
                .unwrap_or_default()
                .wrapping_add(index.into());
            if context.json {
                let fields = json!({
                    "line": order.number,
                    "image_index": index,
                    "existed": is_there,
                    "path": path.to_string_lossy(),
                    "prompt": order.request.prompt,
                    "seed": seed,
                    "request_id": order.id(),
                });
                context
                    .terminal
                    .line(&json::object("planned_image", fields).to_string())?;
                continue;
            }
            let mut prompt = words::one_line(&order.request.prompt);
            if let Some((end, _)) = prompt.char_indices().nth(40) {
                prompt.truncate(end);
                prompt.push('…');
            }
            rows.push(vec![
                order.number.to_string(),
                if is_there { "done" } else { "missing" }.to_owned(),
                seed.to_string(),
                prompt,
                path.display().to_string(),
            ]);
        }
    }
    if context.json {
        return Ok(());
    }
    context.terminal.line(&table::lines(&rows).join("\n"))?;
    let missing = rows.iter().filter(|row| row[1] == "missing").count();
    let text = format!(
        "{missing} of {} pictures to make; nothing was submitted",
        rows.len() - 1
    );
    context.terminal.note(&text);
    Ok(())
}
