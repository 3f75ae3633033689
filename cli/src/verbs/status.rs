//! `imgctl status`: how the daemon is.

use std::time::Duration;

use clap::Args;
use imgd_client::{Client, v1};
use serde_json::json;

use super::ps;
use crate::{Context, durations, failure::Failure, json, table};

#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Status {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect_running()).await?;
        let status = client.status().await?;
        if context.json {
            return context.terminal.line(&object(&client, &status).to_string());
        }
        context.terminal.line(&lines(&client, &status).join("\n"))
    }
}

pub(super) fn started_by(status: &v1::GetStatusResponse) -> &'static str {
    match status.started_by() {
        v1::StartedBy::Client => "client",
        v1::StartedBy::ServiceManager => "service_manager",
        v1::StartedBy::Hand | v1::StartedBy::Unspecified => "hand",
    }
}

pub(super) fn uptime(status: &v1::GetStatusResponse) -> Duration {
    status
        .uptime
        .and_then(|time| Duration::try_from(time).ok())
        .unwrap_or_default()
}

fn lines(client: &Client, status: &v1::GetStatusResponse) -> Vec<String> {
    let memory = status.memory.unwrap_or_default();
    let queue = status.queue.clone().unwrap_or_default();
    let build = status.build_id.get(..12).unwrap_or(&status.build_id);
    let version = format!(
        "{} (protocol {}, build {build})",
        status.version, status.protocol
    );
    let state = if status.draining {
        "ending when its work is done"
    } else {
        "ready"
    };
    let mut rows = vec![
        ("imgd", version),
        ("state", state.to_owned()),
        (
            "process",
            format!(
                "{}, up {}, started by {}",
                status.pid,
                durations::rough(uptime(status)),
                started_by(status).replace('_', " ")
            ),
        ),
        ("socket", client.socket().display().to_string()),
        ("queue", waiting_work(&queue)),
        (
            "memory",
            format!(
                "{} of {} available; imgd {}, worker {}",
                table::size(memory.available_bytes),
                table::size(memory.total_bytes),
                table::size(memory.supervisor_bytes),
                table::size(memory.worker_bytes)
            ),
        ),
    ];
    if !queue.background_blocked.is_empty() {
        let text = format!("does not run now: {}", queue.background_blocked);
        rows.push(("background", text));
    }
    if let Some(library) = &status.library {
        rows.push(("library", kept(library)));
    }
    for device in &status.devices {
        let use_ = match (device.in_use, device.threads) {
            (true, 0) => "in use".to_owned(),
            (true, threads) => format!("in use, {threads} threads"),
            (false, _) => format!("not in use: {}", device.reason),
        };
        rows.push((
            "device",
            format!("{}: {}, {use_}", device.name, device.description),
        ));
    }
    rows.push(("features", status.features.join(" ")));
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    let mut lines = table::lines(&rows);
    let sandbox: Vec<_> = status
        .sandbox
        .iter()
        .map(|layer| {
            let state = if layer.in_force { "on" } else { "off" };
            vec![
                format!("  {}", layer.name),
                state.to_owned(),
                layer.description.clone(),
            ]
        })
        .collect();
    lines.push("sandbox".into());
    lines.extend(table::lines(&sandbox));
    if !status.models.is_empty() {
        lines.push(String::new());
        lines.extend(table::lines(&ps::rows(&status.models)));
    }
    lines
}

/// `1 running, 2 waiting, 1 paused; room for 64, 32 of one client`.
fn waiting_work(queue: &v1::Queue) -> String {
    let mut text = format!("{} running, {} waiting", queue.running, queue.waiting);
    if queue.paused > 0 {
        text = format!("{text}, {} paused", queue.paused);
    }
    text = format!("{text}; room for {}", queue.capacity);
    if queue.capacity_per_client > 0 && queue.capacity_per_client < queue.capacity {
        text = format!("{text}, {} of one client", queue.capacity_per_client);
    }
    text
}

/// `3 jobs, 40 pictures, 12 MB in /home/me/.local/share/imgd`.
fn kept(library: &v1::Library) -> String {
    let number = |count: u64, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    format!(
        "{}, {}, {} in {}",
        number(library.jobs, "job"),
        number(library.images, "picture"),
        table::size(library.size_bytes),
        library.path
    )
}

fn object(client: &Client, status: &v1::GetStatusResponse) -> serde_json::Value {
    let memory = status.memory.unwrap_or_default();
    let queue = status.queue.clone().unwrap_or_default();
    let devices = status.devices.iter().map(|device| {
        json!({
            "name": device.name,
            "description": device.description,
            "in_use": device.in_use,
            "reason": device.reason,
            "threads": device.threads,
        })
    });
    let sandbox = status.sandbox.iter().map(|layer| {
        json!({ "name": layer.name, "in_force": layer.in_force, "description": layer.description })
    });
    json::object(
        "status",
        json!({
            "version": status.version,
            "protocol": status.protocol,
            "build_id": status.build_id,
            "features": status.features,
            "pid": status.pid,
            "uptime_secs": uptime(status).as_secs_f64(),
            "started_by": started_by(status),
            "draining": status.draining,
            "socket": client.socket().to_string_lossy(),
            "device_setting": status.device_setting,
            "devices": devices.collect::<Vec<_>>(),
            "memory": {
                "total_bytes": memory.total_bytes,
                "available_bytes": memory.available_bytes,
                "supervisor_bytes": memory.supervisor_bytes,
                "worker_bytes": memory.worker_bytes,
            },
            "queue": {
                "waiting": queue.waiting,
                "running": queue.running,
                "capacity": queue.capacity,
                "paused": queue.paused,
                "capacity_per_client": queue.capacity_per_client,
                "background_blocked": queue.background_blocked,
            },
            "library": status.library.as_ref().map(|library| json!({
                "path": library.path,
                "jobs": library.jobs,
                "images": library.images,
                "size_bytes": library.size_bytes,
            })),
            "models": status.models.iter().map(json::loaded_model).collect::<Vec<_>>(),
            "sandbox": sandbox.collect::<Vec<_>>(),
        }),
    )
}
