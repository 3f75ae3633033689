//! What the page asks for. The page itself is tested in a browser, by `test.sh`.

use std::time::Duration;

use imgd_e2e::processes;
use serde_json::{Value, json};

use crate::support::Gateway;

type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

fn submit(gateway: &Gateway, parts: &[Part]) -> Value {
    let answer = gateway.form("/api/jobs", parts);
    assert_eq!(
        answer.status,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    answer.json()["job"].clone()
}

/// The jobs that have pictures, once there are this many.
fn pictures(gateway: &Gateway, count: usize) -> Vec<Value> {
    let list = || gateway.get("/api/pictures").json()["jobs"].clone();
    let jobs = || list().as_array().unwrap().clone();
    assert!(
        processes::within(Duration::from_secs(120), || jobs().len() == count),
        "{:?}",
        jobs()
    );
    jobs()
}

#[test]
fn the_page_is_whole_and_loads_nothing_from_elsewhere() {
    let gateway = Gateway::start("", &[], &[]);
    let page = gateway.get("/");
    assert_eq!(page.status, 200);
    let policy = &page.headers["content-security-policy"];
    for rule in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "script-src 'self';",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    let mut to_read = vec![String::from_utf8(page.body).unwrap()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(text) = to_read.pop() {
        let own = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains("://"), "{own}");
        let names = text.split(['"', '\'']).filter_map(|word| {
            let name = word
                .strip_prefix("/page/")
                .or_else(|| word.strip_prefix("./"))?;
            Some(name.to_owned())
        });
        for name in names.collect::<Vec<_>>() {
            if seen.insert(name.clone()) {
                let file = gateway.get(&format!("/page/{name}"));
                assert_eq!(file.status, 200, "{name}");
                to_read.push(String::from_utf8(file.body).unwrap());
            }
        }
    }
    let files = std::fs::read_dir("web").unwrap().count();
    assert_eq!(seen.len(), files - 1, "every file is used: {seen:?}");
}

#[test]
fn a_job_of_the_page_is_made_once_and_its_pictures_are_listed() {
    let gateway = Gateway::start("", &[], &[]);
    let parts: [Part; 5] = [
        ("prompt", None, b"a red apple"),
        ("steps", None, b"2"),
        ("n", None, b"2"),
        ("seed", None, b"18446744073709551614"),
        ("request_id", None, b"page-1"),
    ];
    let job = submit(&gateway, &parts);
    assert_eq!(submit(&gateway, &parts)["id"], job["id"]);
    assert_eq!(job["request"]["seed"], "18446744073709551614");
    let id = job["id"].as_str().unwrap();
    let both = || {
        pictures(&gateway, 1)[0]["pictures"]
            .as_array()
            .unwrap()
            .len()
            == 2
    };
    assert!(processes::within(Duration::from_secs(120), both));
    let listed = pictures(&gateway, 1);
    assert_eq!(
        listed[0]["pictures"][1]["settings"]["seed"],
        "18446744073709551615"
    );
    let picture = gateway.get(&format!("/api/jobs/{id}/pictures/1"));
    assert_eq!(picture.headers["content-type"], "image/png");
    assert!(picture.body.starts_with(b"\x89PNG"));
    let thumbnail = gateway.get(&format!("/api/jobs/{id}/thumbnails/1"));
    assert!(thumbnail.body.starts_with(b"\xff\xd8"));

    let vary = json!({ "index": 1, "how": "vary", "request_id": "page-2" });
    let varied = gateway.post(&format!("/api/jobs/{id}/again"), &vary).json()["job"].clone();
    assert_eq!(varied["image_count"], 1);
    let listed = pictures(&gateway, 2);
    let settings = &listed[0]["pictures"][0]["settings"];
    assert_eq!(settings["seed"], "18446744073709551615");
    assert_eq!(settings["variation_strength"], 0.2);

    let after = gateway.get(&format!(
        "/api/pictures?after={}",
        varied["id"].as_str().unwrap()
    ));
    assert_eq!(after.json()["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(
        gateway
            .post(&format!("/api/jobs/{id}/forget"), &json!({}))
            .status,
        200
    );
    assert_eq!(pictures(&gateway, 1)[0]["job"]["id"], varied["id"]);
    assert_eq!(
        gateway.get(&format!("/api/jobs/{id}/pictures/1")).error().2,
        "job_not_found"
    );
}

#[test]
fn what_began_from_a_picture_is_made_again_with_the_picture_alone() {
    let gateway = Gateway::start("", &[], &[]);
    let first = submit(
        &gateway,
        &[("prompt", None, b"a cat"), ("steps", None, b"1")],
    );
    pictures(&gateway, 1);
    let id = first["id"].as_str().unwrap();
    let file = gateway.get(&format!("/api/jobs/{id}/pictures/0")).body;
    let parts: [Part; 4] = [
        ("prompt", None, b"a dog"),
        ("steps", None, b"2"),
        ("strength", None, b"0.5"),
        ("image", Some("a.png"), &file),
    ];
    let second = submit(&gateway, &parts);
    assert_eq!(second["request"]["has_input"], true);
    assert_eq!(
        pictures(&gateway, 2)[0]["pictures"][0]["settings"]["strength"],
        0.5
    );
    let again = format!("/api/jobs/{}/again", second["id"].as_str().unwrap());
    let (status, param, _) = gateway.post(&again, &json!({ "index": 0 })).error();
    assert_eq!((status, param.as_deref()), (409, Some("image")));
}

#[test]
fn events_go_on_where_they_were_left_even_by_another_daemon() {
    let mut gateway = Gateway::start("", &[], &[]);
    let parts: [Part; 2] = [
        ("prompt", None, b"a castle in the mountains"),
        ("steps", None, b"150"),
    ];
    let job = submit(&gateway, &parts);
    let id = job["id"].as_str().unwrap().to_owned();
    let mut line = gateway.listen("");
    let step = line.until(|name, data| name == "step" && data["preview"].is_string());
    assert_eq!(step["job_id"], id.as_str());
    let cursor = step["cursor"].as_u64().unwrap();
    drop(line);

    gateway.daemon.kill();
    let mut line = gateway.listen(&format!("{id}.{cursor}"));
    line.until(|name, data| name == "daemon" && data["is_up"] == false);
    gateway.daemon.start_again();
    let picture = line.until(|name, _| name == "picture");
    assert!(picture["cursor"].as_u64().unwrap() > cursor);
    assert_eq!(picture["picture"]["is_done"], true);
    line.until(|name, data| name == "job" && data["job"]["state"] == "succeeded");

    // one of another client, however short, is told
    let shorter = gateway
        .daemon
        .run(["generate", "a cat", "--steps", "1", "-o", "a.png"]);
    assert_eq!(shorter.code, 0, "{}", shorter.stderr);
    line.until(|name, data| name == "picture" && data["job_id"] != id.as_str());

    // one that has ended meanwhile is told to its end
    let mut line = gateway.listen(&format!("{id}.{cursor}"));
    line.until(|name, data| name == "job" && data["job"]["state"] == "succeeded");
    let nobody = "f".repeat(32);
    let mut line = gateway.listen(&format!("{nobody}.1"));
    line.until(|name, data| name == "gone" && data["job_id"] == nobody.as_str());
}

#[test]
fn a_job_is_cancelled() {
    let gateway = Gateway::start("", &[], &[]);
    let job = submit(
        &gateway,
        &[("prompt", None, b"a cat"), ("steps", None, b"1000")],
    );
    let id = job["id"].as_str().unwrap();
    let mut line = gateway.listen("");
    line.until(|name, _| name == "started");
    assert_eq!(
        gateway
            .post(&format!("/api/jobs/{id}/cancel"), &json!({}))
            .status,
        200
    );
    line.until(|name, data| name == "job" && data["job"]["state"] == "cancelled");
}
