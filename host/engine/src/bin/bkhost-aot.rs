//! Compiles drivers ahead of time: `bkhost-aot IN.wasm OUT.cwasm [IN OUT …]`.
//!
//! Beside each `OUT.cwasm` it writes `OUT.manifest.toml`, since compiled code has lost the component's sections.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bkhost_engine::compile::Compiler;

const USAGE: &str = "Usage: bkhost-aot IN.wasm OUT.cwasm [IN.wasm OUT.cwasm …]";

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(std::io::stderr(), "error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let (pairs, rest) = arguments.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(USAGE.into());
    }
    let compiler = Compiler::new()?;
    for [input, output] in pairs {
        compile(&compiler, input, output)
            .map_err(|error| format!("`{}`: {}", input.display(), chain(&*error)))?;
    }
    Ok(())
}

fn compile(compiler: &Compiler, input: &Path, output: &Path) -> Result<(), Box<dyn Error>> {
    let component = std::fs::read(input)?;
    let compiled = compiler.compile(&component)?;
    replace(
        &output.with_extension("manifest.toml"),
        compiled.sections.to_sidecar().as_bytes(),
    )?;
    replace(output, &compiled.code)
}

/// Writes beside the destination and renames, so that a reader never sees half of a file.
fn replace(path: &Path, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let named = |error: std::io::Error| format!("Failed to write `{}`: {error}", path.display());
    let mut staging = path.as_os_str().to_owned();
    staging.push(format!(".{}.tmp", std::process::id()));
    std::fs::write(&staging, data).map_err(named)?;
    std::fs::rename(&staging, path).map_err(named)?;
    Ok(())
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    line
}
