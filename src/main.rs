//! The program: its exit status, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(palk::cmd::run(&mut palk::cmd::env::Env::real()))
}
