//! The `tidegate` command.

use std::process::ExitCode;

/// Millions of small buffers live and die here; mimalloc takes a fifth less time for them than the system's allocator and
/// gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
