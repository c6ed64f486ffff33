//! `palk server`: the main server.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::{Args, ValueEnum};

use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::service::{self, Service};
use crate::core::error::Code;
use crate::core::serve::files::FILE_BYTES_MAX;
use crate::core::serve::server::{Config, Server as Core};
use crate::core::session::Dialect;

/// Run the main server
#[derive(Args, Debug)]
pub struct Server {
    /// Where to listen
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:17777", env = "PALK_LISTEN")]
    listen: String,

    /// Where a storage node is; four times, nodes 1 to 4 in order. Remembered from the first start
    #[arg(long = "node", value_name = "HOST:PORT")]
    nodes: Vec<String>,

    /// The folder of the user database
    #[arg(long, value_name = "DIR", default_value = "user_database", env = "PALK_DIR")]
    dir: PathBuf,

    /// What clients get that do not ask for the extended session
    #[arg(long, value_enum, default_value_t = DialectName::Spec)]
    dialect: DialectName,

    /// The largest file that is taken: 100MB, 2GiB, or "none"
    #[arg(long, value_name = "SIZE", default_value = "100MB", value_parser = parse_size)]
    max_file_size: u64,

    #[command(flatten)]
    service: Service,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum DialectName {
    /// The session as it is specified
    Spec,
    /// What the programs of 2020 understand
    #[value(name = "2020")]
    Year2020,
}

/// Reads the size of the largest file, in bytes.
///
/// # Errors
/// Why it is no size, or that the format has no room for such files.
pub fn parse_size(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(FILE_BYTES_MAX);
    }
    let size: bytesize::ByteSize = text.parse()?;
    if size.as_u64() > FILE_BYTES_MAX {
        return Err(format!("at most {FILE_BYTES_MAX} bytes"));
    }
    Ok(size.as_u64())
}

impl Server {
    /// Runs the server until it is told to end.
    ///
    /// # Errors
    /// If its folder, its address or its nodes cannot be used.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        service::start_log();
        let nodes = match self.nodes.len() {
            0 => None,
            4 => self.nodes.try_into().ok(),
            count => {
                let text = format!("--node must be given four times (or not at all), not {count}");
                return Err(Failure::new(Code::Usage, text).into());
            }
        };
        let server = Core::open(&Config {
            listen: self.listen,
            nodes,
            folder: env.at(&self.dir),
            dialect: match self.dialect {
                DialectName::Spec => Dialect::Spec,
                DialectName::Year2020 => Dialect::Year2020,
            },
            file_bytes_max: self.max_file_size,
        })?;
        let folder = std::path::absolute(&self.dir).unwrap_or(self.dir);
        tracing::info!("server keeps its user database in {}", folder.display());
        tracing::info!("server listening on {}", server.address());
        tracing::info!("connecting to the data servers at {}", server.nodes().join(", "));
        let state = server.state();
        let server = Arc::new(server);
        thread::spawn(move || server.run());
        self.service.wait(env, &state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("100MB"), Ok(100_000_000));
        assert_eq!(parse_size("10M"), Ok(10_000_000));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("123"), Ok(123));
        assert_eq!(parse_size("none"), Ok(FILE_BYTES_MAX));
        assert!(parse_size("much").is_err());
        assert!(parse_size("9000TB").is_err());
    }
}
