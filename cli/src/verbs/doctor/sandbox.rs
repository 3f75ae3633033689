//! The layers of the sandbox, one line each, as the daemon says them.

use imgd_client::v1;

use super::finding::Finding;

/// Layers that hold wherever imgd runs: without one of them other users may read what they should not. What the others need, not
/// every system has.
const ALWAYS: [&str; 4] = [
    "private_socket",
    "peer_uid",
    "no_core_dumps",
    "cleared_environment",
];

pub(super) fn look(status: &v1::GetStatusResponse) -> Vec<Finding> {
    status.sandbox.iter().map(layer).collect()
}

fn layer(layer: &v1::SandboxLayer) -> Finding {
    let name = layer.name.replace('_', " ");
    if layer.in_force {
        return Finding::ok(name, layer.description.as_str());
    }
    let found = format!("not in force: {}", layer.description);
    if ALWAYS.contains(&layer.name.as_str()) {
        return Finding::problem(name, found)
            .advice("put right what it names, then `imgctl shutdown`; the next command starts a daemon anew");
    }
    Finding::note(name, found)
        .advice("the other layers hold without it; docs/private.md says what each is for")
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Mark, *};

    #[test]
    fn a_layer_that_always_holds_is_a_problem_when_it_does_not() {
        let mark = |name: &str, in_force| {
            layer(&v1::SandboxLayer {
                name: name.into(),
                in_force,
                description: "d".into(),
            })
            .mark
        };
        assert_eq!(mark("private_socket", true), Mark::Ok);
        assert_eq!(mark("private_socket", false), Mark::Problem);
        assert_eq!(mark("a_layer_of_tomorrow", false), Mark::Note);
    }
}
