//! As much of protoc as prost's build scripts call, on top of protox.
//!
//! A dependency of our tests generates code when it is built, and calls `protoc` for that. This stands in for it, so
//! that a checkout builds and tests with Rust and a linker alone. What it is told that it does not know it refuses,
//! rather than writing something that was not asked for.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use protox::Compiler;

/// The version of protoc whose flags these are.
const VERSION: &str = "libprotoc 31.1";

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    version: bool,
    include_imports: bool,
    include_source_info: bool,
    output: Option<PathBuf>,
    include_dirs: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("protoc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let mut parsed = Arguments::default();
    while let Some(argument) = arguments.next() {
        let mut value_of =
            |flag: &str| arguments.next().ok_or_else(|| format!("{flag} needs a value behind it"));
        match argument.as_str() {
            "--version" => parsed.version = true,
            "--include_imports" => parsed.include_imports = true,
            "--include_source_info" => parsed.include_source_info = true,
            // What it once had to allow is allowed by now.
            "--experimental_allow_proto3_optional" => {}
            "-o" => parsed.output = Some(value_of("-o")?.into()),
            "-I" => parsed.include_dirs.push(value_of("-I")?.into()),
            flag if flag.starts_with("--descriptor_set_out=") => {
                parsed.output = flag.split_once('=').map(|(_, file)| file.into());
            }
            flag if flag.starts_with("--proto_path=") => {
                parsed.include_dirs.extend(flag.split_once('=').map(|(_, dir)| dir.into()));
            }
            flag if flag.starts_with("-I") => parsed.include_dirs.push(flag[2..].into()),
            flag if flag.starts_with('-') => {
                return Err(format!("this stand-in for protoc does not know {flag}").into());
            }
            file => parsed.files.push(file.into()),
        }
    }
    Ok(parsed)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.version {
        println!("{VERSION}");
        return Ok(());
    }
    let output = arguments.output.as_ref().ok_or("there is no -o FILE to write to")?;
    if arguments.files.is_empty() {
        return Err("there is no .proto file to read".into());
    }
    let here = [PathBuf::from(".")];
    let include_dirs =
        if arguments.include_dirs.is_empty() { &here[..] } else { &arguments.include_dirs };
    let mut compiler = Compiler::new(include_dirs)?;
    compiler
        .include_imports(arguments.include_imports)
        .include_source_info(arguments.include_source_info)
        .open_files(&arguments.files)?;
    fs::write(output, compiler.encode_file_descriptor_set())
        .map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Arguments, String> {
        parse(words.split_whitespace().map(str::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_prost_passes_is_understood() {
        let words = "--include_imports --include_source_info -o out.bin -I proto -Iother \
                     --experimental_allow_proto3_optional a.proto b.proto";
        let expected = Arguments {
            version: false,
            include_imports: true,
            include_source_info: true,
            output: Some("out.bin".into()),
            include_dirs: vec!["proto".into(), "other".into()],
            files: vec!["a.proto".into(), "b.proto".into()],
        };
        assert_eq!(parse_words(words), Ok(expected));
    }

    #[test]
    fn an_unknown_flag_is_refused_by_name() {
        let refusal = parse_words("--go_out=. a.proto").expect_err("the flag is unknown");
        assert!(refusal.contains("--go_out=."), "{refusal}");
    }

    #[test]
    fn a_flag_without_its_value_is_refused() {
        assert!(parse_words("-o").is_err());
    }
}
