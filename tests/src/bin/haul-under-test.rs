//! The `haul` binary, where tests of this package find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    haul::main()
}
