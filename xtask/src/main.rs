//! `cargo xtask check`: prints what breaks the rules of the house. `cargo xtask notices`: prints the licences of what the
//! programs contain.
#![expect(
    clippy::print_stderr,
    reason = "a chore talks to the person who runs it"
)]

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check(),
        ["notices"] => notices(),
        _ => {
            eprintln!("usage: cargo xtask check|notices");
            ExitCode::from(2)
        }
    }
}

fn notices() -> ExitCode {
    let printed = xtask::notices::notices(&xtask::root())
        .and_then(|document| io::stdout().write_all(document.as_bytes()));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot print the notices: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> ExitCode {
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
