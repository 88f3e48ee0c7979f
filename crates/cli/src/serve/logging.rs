//! Where a node's log goes, and in which form.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tracing_subscriber::EnvFilter;

use crate::error::CliError;

/// Flags of the log.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// error, warn, info, debug or trace; also by module, as in info,quorate_server=debug
    #[arg(long, value_name = "LEVEL", env = "QUORATE_LOG_LEVEL", default_value = "info")]
    log_level: String,

    /// text for people, json for programs
    #[arg(long, value_name = "FORMAT", env = "QUORATE_LOG_FORMAT", default_value = "text")]
    #[arg(value_parser = PossibleValuesParser::new(["text", "console", "json"]).map(String::from))]
    log_format: String,

    /// stderr (which default is too), stdout, or the paths of files
    #[arg(long, value_name = "LIST", value_delimiter = ',', env = "QUORATE_LOG_OUTPUTS")]
    #[arg(default_value = "default")]
    log_outputs: Vec<String>,

    /// zap, for which etcd takes nothing else either; it chooses nothing
    #[arg(long, value_name = "LOGGER", env = "QUORATE_LOGGER", default_value = "zap")]
    #[arg(value_parser = PossibleValuesParser::new(["zap"]).map(String::from))]
    logger: String,
}

impl LogArgs {
    /// Has everything from here on logged so.
    pub(crate) fn start(&self) -> Result<(), CliError> {
        // Levels of etcd's that are beyond the gravest here.
        let level = match self.log_level.as_str() {
            "panic" | "fatal" | "dpanic" => "error",
            level => level,
        };
        let filter = EnvFilter::try_new(level).map_err(|error| {
            CliError::Misuse(format!(
                "--log-level {level}: {error}; write error, warn, info, debug or trace"
            ))
        })?;
        let to_stderr = matches!(self.log_outputs.as_slice(), [only] if is_stderr(only));
        let outputs = self.log_outputs.iter().map(|name| open(name));
        let outputs = Outputs(Arc::new(Mutex::new(outputs.collect::<Result<_, _>>()?)));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(to_stderr && io::stderr().is_terminal())
            .with_writer(move || outputs.clone());
        match self.log_format.as_str() {
            "json" => log.json().init(),
            _ => log.init(),
        }
        Ok(())
    }
}

fn is_stderr(name: &str) -> bool {
    matches!(name, "default" | "stderr")
}

fn open(name: &str) -> Result<Box<dyn Write + Send>, CliError> {
    match name {
        name if is_stderr(name) => Ok(Box::new(io::stderr())),
        "stdout" => Ok(Box::new(io::stdout())),
        path => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(|error| CliError::File {
                action: "write the log to",
                path: path.into(),
                error,
            })?;
            Ok(Box::new(file))
        }
    }
}

/// Writes to all of them. One that fails keeps none of the others from being written.
#[derive(Clone)]
struct Outputs(Arc<Mutex<Vec<Box<dyn Write + Send>>>>);

impl Write for Outputs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcome = Ok(bytes.len());
        for output in outputs.iter_mut() {
            if let Err(error) = output.write_all(bytes) {
                outcome = Err(error);
            }
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.iter_mut().try_for_each(|output| output.flush())
    }
}
