//! 200 bad requests, each refused with its code, reason and field by a daemon that goes on.

use imgd_proto::{Reason, v1};

use crate::{
    house::{House, small},
    models,
    refusals::{Ask, Refusal, check_all},
};

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_their_field_and_leave_a_daemon_that_draws() {
    let house = House::new().await;
    let first = house.picture(small()).await;
    let channel = house.channel().await;
    // The journal is read for the first time here, and opens what it reads.
    house.status().await;
    let base = house.descriptors();
    let refusals: Vec<_> = [
        numbers(),
        enumerations(),
        durations(),
        texts(),
        names(),
        combinations(),
        models::refusals(house.home()),
    ]
    .into_iter()
    .flatten()
    .collect();
    eprintln!("{} bad requests", refusals.len());
    assert!(refusals.len() >= 200, "{}", refusals.len());
    check_all(&channel, refusals).await;

    let status = house.status().await;
    assert_eq!(
        status.queue.map(|queue| (queue.waiting, queue.running)),
        Some((0, 0))
    );
    assert_eq!(house.picture(small()).await.file, first.file);
    match base {
        Ok(base) => house.descriptors_are_back(base).await,
        Err(error) => eprintln!("skipped: descriptors cannot be counted: {error}"),
    }
}

/// One request of the table: `change` makes a good one bad.
fn bad(
    name: impl Into<String>,
    field: &'static str,
    change: impl FnOnce(&mut v1::GenerateRequest),
) -> Refusal {
    let mut request = small();
    change(&mut request);
    Refusal::invalid(name.into(), Ask::Generate(Box::new(request)), field)
}

fn numbers() -> Vec<Refusal> {
    type Set<T> = fn(&mut v1::GenerateRequest, T);
    let sizes: &[u32] = &[
        0,
        1,
        4,
        7,
        9,
        63,
        65,
        250,
        4_095,
        4_097,
        4_104,
        65_536,
        1 << 31,
        u32::MAX,
    ];
    let whole: [(&str, &[u32], Set<u32>); 7] = [
        ("width_px", sizes, |r, n| r.width_px = Some(n)),
        ("height_px", sizes, |r, n| r.height_px = Some(n)),
        (
            "num_inference_steps",
            &[0, 1_001, 1 << 31, u32::MAX],
            |r, n| {
                r.num_inference_steps = Some(n);
            },
        ),
        ("num_images", &[0, 10_001, 1 << 31, u32::MAX], |r, n| {
            r.num_images = Some(n)
        }),
        // The starter's text encoder has 4 layers.
        ("clip_skip", &[0, 5, 12, 13, 1_000, u32::MAX], |r, n| {
            r.clip_skip = Some(n)
        }),
        ("jpeg_quality", &[0, 101, 1_000, u32::MAX], |r, n| {
            r.format = v1::ImageFormat::Jpeg.into();
            r.jpeg_quality = Some(n);
        }),
        (
            "preview_every_n_steps",
            &[1_001, 1 << 31, u32::MAX],
            |r, n| {
                r.preview_every_n_steps = n;
            },
        ),
    ];
    let whole = whole.into_iter().flat_map(|(field, values, set)| {
        values
            .iter()
            .map(move |&value| bad(format!("{field} {value}"), field, |r| set(r, value)))
    });
    let guidance = [
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        -f64::MIN_POSITIVE,
        -1.0,
        100.000_1,
        1e9,
    ];
    let guidance = guidance.into_iter().map(|value| {
        bad(format!("guidance_scale {value}"), "guidance_scale", |r| {
            r.guidance_scale = Some(value);
        })
    });
    whole.chain(guidance).collect()
}

fn enumerations() -> Vec<Refusal> {
    [-1, 4, 99, i32::MIN, i32::MAX]
        .into_iter()
        .flat_map(|value| {
            [
                bad(format!("precision {value}"), "precision", |r| {
                    r.precision = value
                }),
                bad(format!("format {value}"), "format", |r| r.format = value),
                bad(format!("priority {value}"), "priority", |r| {
                    r.priority = value
                }),
                Refusal::invalid(
                    format!("load with precision {value}"),
                    Ask::Load(v1::LoadModelRequest {
                        precision: value,
                        ..v1::LoadModelRequest::default()
                    }),
                    "precision",
                ),
            ]
        })
        .collect()
}

fn durations() -> Vec<Refusal> {
    let duration = |seconds, nanos| prost_types::Duration { seconds, nanos };
    let malformed = [
        duration(1, -1),
        duration(-1, 1),
        duration(0, i32::MAX),
        duration(0, i32::MIN),
        duration(i64::MAX, 0),
        duration(i64::MIN, 0),
    ];
    let no_timeout = [duration(0, 0), duration(-1, 0), duration(86_401, 0)];
    let timeouts = malformed.into_iter().chain(no_timeout).map(|value| {
        bad(format!("timeout {value:?}"), "timeout", |r| {
            r.timeout = Some(value)
        })
    });
    let stays = malformed.into_iter().flat_map(|value| {
        let load = v1::LoadModelRequest {
            keep_alive: Some(value),
            ..v1::LoadModelRequest::default()
        };
        [
            bad(format!("keep_alive {value:?}"), "keep_alive", |r| {
                r.keep_alive = Some(value)
            }),
            Refusal::invalid(
                format!("load, keep_alive {value:?}"),
                Ask::Load(load),
                "keep_alive",
            ),
        ]
    });
    timeouts.chain(stays).collect()
}

fn texts() -> Vec<Refusal> {
    let mut texts = Vec::new();
    for (name, text) in [
        ("one byte too long", "a".repeat(32_769)),
        ("too long in bytes", "é".repeat(16_385)),
        ("far too long", "word ".repeat(50_000)),
    ] {
        texts.push(bad(format!("prompt {name}"), "prompt", |r| {
            r.prompt = text.clone()
        }));
        texts.push(bad(
            format!("negative_prompt {name}"),
            "negative_prompt",
            |r| {
                r.negative_prompt = Some(text);
            },
        ));
    }
    let mut request = small();
    request.prompt = "a".repeat(40 << 20);
    texts.push(Refusal {
        name: "a message of 40 MiB".to_owned(),
        ask: Ask::Generate(Box::new(request)),
        reason: Reason::MessageTooLarge,
        field: "",
    });
    for id in [&"a".repeat(65), "a b", "é", "a/b", "a\nb", "\0", "a.b"] {
        texts.push(bad(format!("request_id {id:?}"), "request_id", |r| {
            r.request_id = id.to_owned();
        }));
    }
    texts
}

fn names() -> Vec<Refusal> {
    let mut names = Vec::new();
    let long = "m".repeat(5_000);
    for name in [
        "../etc",
        "a/../b",
        "..",
        ".hidden",
        "-x",
        "a//b",
        "a/",
        "a/b/c/d/e",
        "a ",
        " a",
        "~/model",
        "C:\\model",
        "https://host/model",
        "/nul\0byte",
        "a\nb",
        long.as_str(),
    ] {
        let shown: String = name.escape_debug().take(24).collect();
        names.push(bad(format!("model {shown}"), "model", |r| {
            r.model = name.to_owned()
        }));
        let load = v1::LoadModelRequest {
            model: name.to_owned(),
            ..v1::LoadModelRequest::default()
        };
        names.push(Refusal::invalid(
            format!("load {shown}"),
            Ask::Load(load),
            "model",
        ));
    }
    for name in ["startr", "STARTER", "nonesuch", "org/model", "a b", "é"] {
        for (verb, ask) in [
            ("describe", Ask::Describe(name.to_owned())),
            ("unload", Ask::Unload(name.to_owned())),
        ] {
            names.push(Refusal {
                name: format!("{verb} {name}"),
                ask,
                reason: Reason::ModelNotFound,
                field: "model",
            });
        }
        let mut unknown = bad(format!("model {name}"), "model", |r| {
            r.model = name.to_owned()
        });
        unknown.reason = Reason::ModelNotFound;
        names.push(unknown);
    }
    names.push(Refusal::invalid(
        "unload nothing".to_owned(),
        Ask::Unload(String::new()),
        "model",
    ));
    let long = "e".repeat(65);
    for name in [
        "euler2",
        "EULER",
        "Euler a",
        "DPM++ 2M Karras",
        " euler",
        "euler\n",
        "none",
        "Ω",
        long.as_str(),
    ] {
        names.push(bad(format!("sampler {name:?}"), "sampler", |r| {
            r.sampler = name.to_owned()
        }));
        names.push(bad(format!("schedule {name:?}"), "schedule", |r| {
            r.schedule = name.to_owned()
        }));
    }
    names
}

/// Fields that are right alone and wrong together.
fn combinations() -> Vec<Refusal> {
    let mut combinations = Vec::new();
    for sampler in ["ddim", "ddpm", "pndm", "lcm"] {
        for schedule in [
            "normal",
            "karras",
            "exponential",
            "simple",
            "sgm_uniform",
            "beta",
        ] {
            let name = format!("{sampler} with {schedule}");
            combinations.push(bad(name, "schedule", |r| {
                r.sampler = sampler.to_owned();
                r.schedule = schedule.to_owned();
            }));
        }
    }
    for format in [
        v1::ImageFormat::Unspecified,
        v1::ImageFormat::Png,
        v1::ImageFormat::Webp,
    ] {
        let name = format!("jpeg_quality with {}", format.as_str_name());
        combinations.push(bad(name, "jpeg_quality", |r| {
            r.format = format.into();
            r.jpeg_quality = Some(90);
        }));
    }
    for (side, steps, images, field) in [
        (4_096, 1_000, 66, "num_images"),
        (4_096, 1_000, 10_000, "num_images"),
        (1_024, 1_000, 10_000, "num_images"),
        (4_096, 20, 10_000, "num_images"),
    ] {
        let name = format!("{side} x {side}, {steps} steps, {images} images");
        combinations.push(bad(name, field, |r| {
            r.width_px = Some(side);
            r.height_px = Some(side);
            r.num_inference_steps = Some(steps);
            r.num_images = Some(images);
        }));
    }
    combinations
}
