//! Who may call, over real HTTP. The rules in full are tested beside `guard`.

use crate::support::Gateway;
use imgd_e2e::Home;

#[test]
fn foreign_names_and_foreign_pages_are_refused() {
    let gateway = Gateway::start("", &["--allow-origin", "https://app.example.org"], &[]);
    let status = |line: &str, headers: &[(&str, &str)]| gateway.call(line, headers, b"").status;
    for path in [
        "GET /",
        "GET /v1/models",
        "GET /health",
        "GET /api/choices",
        "GET /v1/images/files/x.png",
    ] {
        assert_eq!(status(path, &[("Host", "evil.example.org")]), 421, "{path}");
    }
    assert_eq!(status("GET /v1/models", &[("Host", "localhost:1")]), 200);
    assert_eq!(
        status("GET /v1/models", &[("Origin", "https://evil.example.org")]),
        403
    );
    assert_eq!(
        status("GET /v1/models", &[("Sec-Fetch-Site", "cross-site")]),
        403
    );
    assert_eq!(
        status(
            "OPTIONS /v1/images/generations",
            &[("Origin", "https://evil.example.org")]
        ),
        403
    );

    let allowed = [
        ("Origin", "https://app.example.org"),
        ("Sec-Fetch-Site", "cross-site"),
    ];
    let answer = gateway.call("GET /v1/models", &allowed, b"");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://app.example.org"
    );
    let preflight = gateway.call("OPTIONS /v1/images/generations", &allowed, b"");
    assert_eq!(preflight.status, 204);
    assert!(preflight.headers["access-control-allow-headers"].contains("authorization"));
    // nobody else is told that anybody may
    let own = gateway.get("/v1/models");
    assert!(!own.headers.contains_key("access-control-allow-origin"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(own.headers[name], value);
    }
}

#[test]
fn other_machines_are_served_with_a_key_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let listen = ["gateway", "--listen", "0.0.0.0:0"];
    let refused = home.run(listen);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("no key is set") && refused.stderr.contains("--api-key-file"));

    let key = home.work().join("key");
    std::fs::write(&key, "0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = home.run([&listen[..], &["--api-key-file", "key"]].concat());
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("others may read"),
        "{}",
        refused.stderr
    );

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&key, "short\n").unwrap();
    let refused = home.run([&listen[..], &["--api-key-file", "key"]].concat());
    assert!(
        refused.code == 2 && refused.stderr.contains("less than 16"),
        "{}",
        refused.stderr
    );
    // a daemon was started by none of them
    assert_eq!(home.daemon_pid(), None);
}
