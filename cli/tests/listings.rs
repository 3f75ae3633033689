//! What the verbs that list and describe print.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::process::Command;

use imgd_proto::v1;
use serde_json::Value;
use support::{FakeDaemon, Script};

fn run(daemon: &FakeDaemon, line: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_imgctl"))
        .args(line.split(' '))
        .env_clear()
        .env("IMGD_SOCKET", &daemon.socket)
        .env("IMGD_BIN", "/nonexistent/imgd")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn objects(daemon: &FakeDaemon, line: &str) -> Vec<Value> {
    let text = run(daemon, &format!("{line} --json"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn models_are_listed_and_described() {
    let daemon = FakeDaemon::start();
    assert_eq!(
        run(&daemon, "models"),
        "NAME     FROM    STATE            PATH\n\
         starter  imgd    default, loaded  (inside imgd)\n\
         xl       config                   /models/xl\n"
    );
    assert_eq!(
        run(&daemon, "models show xl"),
        "model       xl\n\
         path        /models/xl\n\
         also        big\n\
         family      sdxl (StableDiffusionXLPipeline)\n\
         parameters  3.47B\n\
         weights     6.9 GB on disk\n\
         memory      about 15 GB\n\
         size        256x256, multiples of 8 px\n\
         steps       1 of dpmpp_2m, schedule normal, v_prediction\n\
         guidance    3.5\n\
         prompt      up to 75 tokens\n\
         parts\n\
         \x20 unet  UNet2DConditionModel  2.57B  f16\n"
    );
    let shown = &objects(&daemon, "models show xl")[0];
    assert_eq!(shown["components"][0]["dtype"], "f16");
    assert_eq!(shown["defaults"]["sampler"], "dpmpp_2m");
    assert_eq!(objects(&daemon, "models list")[0]["is_default"], true);
    assert_eq!(
        run(
            &daemon,
            "models add /models/dream.safetensors --name dream --alias d"
        ),
        "added `dream`, also `d`: /models/dream.safetensors\n"
    );
    assert_eq!(
        objects(&daemon, "models add /x --name y")[0]["origin"],
        "added"
    );
    assert_eq!(
        run(&daemon, "models rm dream"),
        "`dream` is no name any more; /models/dream.safetensors stays where it is\n"
    );
}

#[test]
fn names_to_complete_are_those_of_a_daemon_that_runs() {
    let daemon = FakeDaemon::start();
    let line = "completions --names imgctl generate -m";
    assert_eq!(run(&daemon, line), "starter\nxl\n");
    assert_eq!(run(&daemon, "completions --names imgctl upscale -m"), "");
}

#[test]
fn samplers_are_listed_with_the_schedules_they_take() {
    let daemon = FakeDaemon::start();
    assert_eq!(
        run(&daemon, "samplers"),
        "SAMPLER  EVALS  NOISE  SCHEDULES  DESCRIPTION\n\
         euler    1             all        the euler solver\n\
         lms      1             karras     the lms solver\n\
         ddpm     1      yes    own        the ddpm solver\n\
         \n\
         SCHEDULE  DESCRIPTION\n\
         normal    the normal levels\n\
         karras    the karras levels\n"
    );
    let objects = objects(&daemon, "samplers");
    assert_eq!(objects[0]["schedules"][1], "karras");
    assert_eq!(objects[4]["event"], "schedule");
}

#[test]
fn what_is_in_memory_is_listed_as_ollama_does() {
    let mut script = Script::default();
    script.status.models.push(support::models::loaded());
    let daemon = FakeDaemon::with(script);
    let table = "NAME     ID            SIZE    PROCESSOR     UNTIL\n\
                 starter  0123456789ab  118 MB  100% CPU f32  Forever\n";
    assert_eq!(run(&daemon, "ps"), table);
    assert_eq!(run(&daemon, "load"), table);
    assert_eq!(run(&daemon, "unload starter"), "");
    assert_eq!(objects(&daemon, "ps")[0]["expires_in_secs"], Value::Null);
    assert_eq!(objects(&daemon, "unload xl")[0]["was_loaded"], false);
}

#[test]
fn status_says_how_the_daemon_is() {
    let mut script = Script::default();
    script.status.pid = 7;
    script.status.build_id = "0123456789abcdef".into();
    script.status.memory = Some(v1::Memory {
        total_bytes: 8_000_000_000,
        available_bytes: 6_000_000_000,
        supervisor_bytes: 12_000_000,
        worker_bytes: 0,
    });
    script.status.features = vec!["previews".into()];
    script.status.devices = vec![
        v1::Device {
            name: "cpu".into(),
            description: "a CPU".into(),
            in_use: true,
            reason: String::new(),
            threads: 2,
        },
        v1::Device {
            name: "cuda:0".into(),
            description: "a GPU".into(),
            in_use: false,
            reason: "not used yet".into(),
            threads: 0,
        },
    ];
    script.status.sandbox = vec![v1::SandboxLayer {
        name: "private_socket".into(),
        in_force: true,
        description: "0600".into(),
    }];
    let daemon = FakeDaemon::with(script);
    let socket = daemon.socket.display();
    assert_eq!(
        run(&daemon, "status"),
        format!(
            "imgd      0.0.0 (protocol 1, build 0123456789ab)\n\
             state     ready\n\
             process   7, up less than a second, started by hand\n\
             socket    {socket}\n\
             queue     0 running, 0 waiting; room for 8\n\
             memory    6.0 GB of 8.0 GB available; imgd 12 MB, worker 0 B\n\
             device    cpu: a CPU, in use, 2 threads\n\
             device    cuda:0: a GPU, not in use: not used yet\n\
             features  previews\n\
             sandbox\n\
             \x20 private_socket  on  0600\n"
        )
    );
    assert_eq!(
        objects(&daemon, "status")[0]["memory"]["supervisor_bytes"],
        12_000_000
    );
}
