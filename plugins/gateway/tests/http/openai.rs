//! OpenAI's API over real HTTP, with a real daemon.

use std::{io::Cursor, time::Duration};

use crate::support::Gateway;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use imgd_e2e::processes;
use serde_json::{Value, json};

fn start() -> Gateway {
    Gateway::start("", &[], &[])
}

fn picture_of(item: &Value) -> Vec<u8> {
    STANDARD.decode(item["b64_json"].as_str().unwrap()).unwrap()
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .into()
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn stripes() -> RgbImage {
    RgbImage::from_fn(256, 256, |x, y| {
        let half = |at: u32| u8::try_from(at / 2).unwrap();
        Rgb([half(x), half(y), 120])
    })
}

#[test]
fn a_prompt_becomes_the_pictures_that_imgctl_draws() {
    let gateway = start();
    let request =
        json!({ "prompt": "a red apple", "n": 2, "steps": 2, "seed": 7, "model": "gpt-image-1" });
    let answer = gateway.post("/v1/images/generations", &request);
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    let answer = answer.json();
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(answer["output_format"], "png");
    assert_eq!(answer["size"], "256x256");
    let data = answer["data"].as_array().unwrap();
    assert_eq!(
        data.iter()
            .map(|item| item["seed"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [7, 8]
    );
    gateway
        .daemon
        .run([
            "generate",
            "a red apple",
            "--steps",
            "2",
            "--seed",
            "7",
            "-o",
            "a.png",
        ])
        .ok();
    let same = std::fs::read(gateway.daemon.work().join("a.png")).unwrap();
    assert!(
        picture_of(&data[0]) == same,
        "the same request is the same file"
    );
    assert!(picture_of(&data[1]) != same);

    let jpeg = json!({ "prompt": "a red apple", "steps": 1, "output_format": "jpeg", "output_compression": 50, "size": "128x64" });
    let answer = gateway.post("/v1/images/generations", &jpeg).json();
    let picture =
        image::load_from_memory_with_format(&picture_of(&answer["data"][0]), ImageFormat::Jpeg)
            .unwrap();
    assert_eq!((picture.width(), picture.height()), (128, 64));
}

#[test]
fn an_address_leads_to_the_picture_without_the_key() {
    let gateway = Gateway::start("", &[], &[("IMGCTL_API_KEY", "some-key")]);
    let request = json!({ "prompt": "a cat", "steps": 1, "response_format": "url" });
    assert_eq!(
        gateway.post("/v1/images/generations", &request).error().0,
        401
    );
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", "Bearer some-key"),
    ];
    let answer = gateway.call(
        "POST /v1/images/generations",
        &headers,
        request.to_string().as_bytes(),
    );
    let url = answer.json()["data"][0]["url"].as_str().unwrap().to_owned();
    let path = url
        .strip_prefix(&format!("http://{}", gateway.address))
        .unwrap();
    let picture = gateway.get(path);
    assert_eq!(
        (picture.status, picture.headers["content-type"].as_str()),
        (200, "image/png")
    );
    assert!(picture.body.starts_with(b"\x89PNG"));
    assert_eq!(picture.headers["cache-control"], "no-store");
    let other = format!("/v1/images/files/{}.png", "0".repeat(32));
    assert_eq!(
        gateway.get(&other).error(),
        (404, None, "image_expired".into())
    );
    assert_eq!(
        gateway.get("/v1/models").error(),
        (401, None, "invalid_api_key".into())
    );
    assert_eq!(gateway.get("/health").status, 200);
}

#[test]
fn nothing_of_a_private_picture_is_kept() {
    let gateway = start();
    let request =
        json!({ "prompt": "a cat", "steps": 1, "response_format": "url", "private": true });
    let answer = gateway.post("/v1/images/generations", &request).json();
    let url = answer["data"][0]["url"].as_str().unwrap();
    let picture = STANDARD
        .decode(url.strip_prefix("data:image/png;base64,").unwrap())
        .unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    assert_eq!(
        gateway.daemon.run(["--json", "jobs", "--all"]).ok().stdout,
        ""
    );
}

#[test]
fn what_is_wrong_is_named_as_the_caller_wrote_it() {
    let gateway = start();
    let generations = "/v1/images/generations";
    let invalid = "invalid_value";
    for (more, status, param, code) in [
        (
            json!({ "prompt": null }),
            400,
            "prompt",
            "missing_required_parameter",
        ),
        (json!({ "prompt": 7 }), 400, "prompt", "invalid_type"),
        (json!({ "size": "7x256" }), 400, "size", invalid),
        (json!({ "size": "256x9999" }), 400, "size", invalid),
        (json!({ "steps": 0 }), 400, "steps", invalid),
        (json!({ "cfg_scale": 101 }), 400, "cfg_scale", invalid),
        (json!({ "n": 11 }), 400, "n", invalid),
        (json!({ "sampler": "nonesuch" }), 400, "sampler", invalid),
        (
            json!({ "model": "nonesuch" }),
            404,
            "model",
            "model_not_found",
        ),
        (
            json!({ "model": "/etc/passwd" }),
            404,
            "model",
            "model_not_found",
        ),
        (
            json!({ "partial_images": 4 }),
            400,
            "partial_images",
            invalid,
        ),
        (
            json!({ "stream": true, "response_format": "url" }),
            400,
            "response_format",
            invalid,
        ),
        (
            json!({ "frobnicate": 1 }),
            400,
            "frobnicate",
            "unknown_parameter",
        ),
    ] {
        let mut request = json!({ "prompt": "a", "steps": 1 });
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = gateway.post(generations, &request);
        assert_eq!(
            answer.error(),
            (status, Some(param.into()), code.into()),
            "{more}"
        );
    }
    let text = [("Content-Type", "text/plain")];
    let json = [("Content-Type", "application/json")];
    let long = vec![b' '; 300 << 10];
    for (line, headers, body, status, code) in [
        (
            "POST /v1/images/generations",
            &text,
            &b"{}"[..],
            415,
            "unsupported_content_type",
        ),
        (
            "POST /v1/images/generations",
            &json,
            b"{\"prompt\":",
            400,
            "invalid_request",
        ),
        (
            "POST /v1/images/generations",
            &json,
            b"[]",
            400,
            "invalid_request",
        ),
        (
            "POST /v1/images/generations",
            &json,
            &long,
            413,
            "request_too_large",
        ),
        (
            "POST /v1/images/edits",
            &json,
            b"{}",
            415,
            "unsupported_content_type",
        ),
        (
            "GET /v1/images/generations",
            &text,
            b"",
            405,
            "method_not_allowed",
        ),
        ("GET /v1/nothing", &text, b"", 404, "unknown_url"),
        (
            "GET /v1/models/nonesuch",
            &text,
            b"",
            404,
            "model_not_found",
        ),
    ] {
        let (got, _, said) = gateway.call(line, headers, body).error();
        assert_eq!((got, said.as_str()), (status, code), "{line}");
    }
    for (parts, param) in [
        (&[("prompt", None, &b"a"[..])][..], "image"),
        (
            &[
                ("prompt", None, b"a"),
                ("image", Some("a.png"), b"nonsense"),
            ],
            "image",
        ),
        (&[("image", Some("a.png"), b"nonsense")], "prompt"),
        (
            &[
                ("prompt", None, b"a"),
                ("imago", Some("a.png"), b"nonsense"),
            ],
            "imago",
        ),
    ] {
        let (status, named, _) = gateway.form("/v1/images/edits", parts).error();
        assert_eq!((status, named.as_deref()), (400, Some(param)));
    }
}

#[test]
fn previews_come_before_the_picture() {
    let gateway = start();
    let request = json!({ "prompt": "a sailing boat", "steps": 8, "stream": true, "partial_images": 2, "seed": 3 });
    let answer = gateway.post("/v1/images/generations", &request);
    assert_eq!(
        (answer.status, answer.headers["content-type"].as_str()),
        (200, "text/event-stream")
    );
    let events = answer.events();
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    let partial = "image_generation.partial_image";
    assert_eq!(names, [partial, partial, "image_generation.completed"]);
    for (at, (name, data)) in events.iter().enumerate() {
        assert_eq!(&data["type"], name);
        assert_eq!(data["size"], "256x256");
        let picture = image::load_from_memory(&picture_of(data)).unwrap();
        assert_eq!((picture.width(), picture.height()), (256, 256));
        if name == partial {
            assert_eq!(data["partial_image_index"], at);
        }
    }
    assert_eq!(events[2].1["seed"], 3);
}

#[test]
fn who_goes_takes_the_work_along() {
    let gateway = start();
    for is_stream in [false, true] {
        let request =
            json!({ "prompt": "a castle", "steps": 1000, "stream": is_stream }).to_string();
        let headers = [("Content-Type", "application/json")];
        let stream = gateway.begin("POST /v1/images/generations", &headers, request.as_bytes());
        let state = || {
            gateway
                .daemon
                .run(["--json", "jobs", "--all", "--limit", "1"])
                .ok()
                .json()
        };
        let is = |wanted: &str| {
            processes::within(Duration::from_secs(60), || {
                state().first().is_some_and(|job| job["state"] == wanted)
            })
        };
        assert!(is("running"), "{:?}", state());
        drop(stream);
        assert!(is("cancelled"), "{:?}", state());
    }
}

#[test]
fn what_is_opaque_in_the_mask_keeps_its_pixels() {
    let gateway = start();
    let picture = stripes();
    // the left half is painted
    let mask = RgbaImage::from_fn(256, 256, |x, _| {
        Rgba([0, 0, 0, if x < 128 { 0 } else { 255 }])
    });
    let (file, mask_file) = (png(picture.clone()), png(mask.clone()));
    let parts = [
        ("prompt", None, &b"a red apple"[..]),
        ("steps", None, b"2"),
        ("mask_blur", None, b"1"),
        ("image", Some("picture.png"), &file),
        ("mask", Some("mask.png"), &mask_file),
    ];
    let answer = gateway.form("/v1/images/edits", &parts);
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    let edited = image::load_from_memory(&picture_of(&answer.json()["data"][0]))
        .unwrap()
        .into_rgb8();
    let same = |from: u32, to: u32| {
        let columns = (from..to).flat_map(|x| (0..256).map(move |y| (x, y)));
        columns
            .filter(|(x, y)| edited.get_pixel(*x, *y) == picture.get_pixel(*x, *y))
            .count()
    };
    assert_eq!(same(136, 256), 120 * 256);
    assert!(same(0, 120) < 120 * 256 / 10);

    // the picture's own transparency is the mask where there is none
    let mut transparent = RgbaImage::from_fn(256, 256, |x, y| {
        let [r, g, b] = picture.get_pixel(x, y).0;
        Rgba([r, g, b, 255])
    });
    for (pixel, mask) in transparent.pixels_mut().zip(mask.pixels()) {
        pixel.0[3] = mask.0[3];
    }
    let file = png(transparent);
    let parts = [
        ("prompt", None, &b"a red apple"[..]),
        ("steps", None, b"2"),
        ("mask_blur", None, b"1"),
        ("image[]", Some("picture.png"), &file),
    ];
    let answer = gateway.form("/v1/images/edits", &parts);
    let edited = image::load_from_memory(&picture_of(&answer.json()["data"][0]))
        .unwrap()
        .into_rgb8();
    assert_eq!(edited.get_pixel(250, 9), picture.get_pixel(250, 9));
}

#[test]
fn a_variation_is_like_its_picture_and_has_its_size() {
    let gateway = start();
    let file = png(DynamicImage::from(stripes()).crop_imm(0, 0, 128, 192));
    let parts = [
        ("image", Some("picture.png"), &file[..]),
        ("n", None, b"2"),
        ("steps", None, b"4"),
        ("strength", None, b"0.3"),
    ];
    let answer = gateway.form("/v1/images/variations", &parts);
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    let answer = answer.json();
    assert_eq!(answer["size"], "128x192");
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    let looked_at = gateway.form(
        "/v1/images/edits",
        &[
            ("prompt", None, b"a"),
            ("image[]", Some("a.png"), &file),
            ("image[]", Some("b.png"), &file),
        ],
    );
    // the starter draws and looks at nothing
    assert_eq!(looked_at.error().1.as_deref(), Some("image"));
}

#[test]
fn a_full_queue_is_an_answer_to_try_again_on() {
    let gateway = Gateway::start("queue_capacity = 1\ncapacity_per_client = 1\n", &[], &[]);
    let headers = [("Content-Type", "application/json")];
    let long = json!({ "prompt": "a", "steps": 1000 }).to_string();
    let begin = || gateway.begin("POST /v1/images/generations", &headers, long.as_bytes());
    let counts = || gateway.daemon.run(["--json", "status"]).ok().json()[0]["queue"].clone();
    let first = begin();
    assert!(
        processes::within(Duration::from_secs(60), || counts()["running"] == 1),
        "{}",
        counts()
    );
    let second = begin();
    assert!(
        processes::within(Duration::from_secs(60), || counts()["waiting"] == 1),
        "{}",
        counts()
    );
    let answer = gateway.post("/v1/images/generations", &json!({ "prompt": "a" }));
    let (status, _, code) = answer.error();
    assert!(
        status == 429 && ["queue_full", "client_queue_full"].contains(&code.as_str()),
        "{status} {code}"
    );
    assert!(answer.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    drop((first, second));
}

#[test]
fn models_are_listed_with_openai_s_names() {
    let gateway = start();
    let list = gateway.get("/v1/models").json();
    assert_eq!(list["object"], "list");
    let ids: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert!(
        ["starter", "gpt-image-1", "dall-e-2", "dall-e-3"]
            .iter()
            .all(|name| ids.contains(name)),
        "{ids:?}"
    );
    assert_eq!(gateway.get("/v1/models/starter").json()["object"], "model");
    assert_eq!(
        gateway.get("/v1/models/gpt-image-1.5").json()["id"],
        "gpt-image-1.5"
    );
}

#[test]
fn the_daemon_may_come_again_and_the_gateway_says_no_prompts() {
    let mut gateway = start();
    let request = json!({ "prompt": "a heliotropecanary flower", "steps": 1 });
    assert_eq!(gateway.post("/v1/images/generations", &request).status, 200);
    gateway.daemon.kill();
    assert_eq!(gateway.get("/health").status, 503);
    gateway.daemon.start_again();
    gateway.daemon.wait_until_it_listens();
    assert_eq!(gateway.post("/v1/images/generations", &request).status, 200);
    let bad = json!({ "prompt": "a heliotropecanary", "heliotropecanary": 1 });
    assert_eq!(gateway.post("/v1/images/generations", &bad).status, 400);
    assert_eq!(gateway.end(), "");
}
