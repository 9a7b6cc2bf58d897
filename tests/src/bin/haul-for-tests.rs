//! `haul`, just as it is, for the tests of this package to start.

use std::process::ExitCode;

fn main() -> ExitCode {
    haul::main()
}
