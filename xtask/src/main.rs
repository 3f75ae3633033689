//! `cargo xtask check`: prints what breaks the rules of the house.
#![expect(
    clippy::print_stderr,
    reason = "a chore talks to the person who runs it"
)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments != ["check"] {
        eprintln!("usage: cargo xtask check");
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    for (name, rule) in xtask::RULES {
        let broken = rule(&xtask::root()).unwrap_or_else(|error| vec![error.to_string()]);
        eprintln!(
            "{} {name}",
            if broken.is_empty() {
                "ok    "
            } else {
                "BROKEN"
            }
        );
        for sentence in broken {
            eprintln!("       {sentence}");
            code = ExitCode::FAILURE;
        }
    }
    code
}
