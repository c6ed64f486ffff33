//! `palk keygen`: the key that the server and the nodes of a cluster share.

use std::path::PathBuf;

use clap::Args;

use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::io::tls::ClusterKey;

/// Make the key that the server and the nodes of a cluster share
#[derive(Args, Debug)]
pub struct Keygen {
    /// Where to write it; a file that is there is never replaced
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Keygen {
    /// Makes the key.
    ///
    /// # Errors
    /// If there is a file already or it cannot be written.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        let shown = self.file.display();
        let key = ClusterKey::create(&env.at(&self.file)).map_err(|error| {
            let hint = match error.code() {
                Code::Exists => "Use that one, or name another file.",
                _ => "Check the folder, then try again.",
            };
            Failure::from(&error).hint(hint)
        })?;
        env.note(&format!("Made the key {shown}, fingerprint {}", key.fingerprint()));
        env.note(
            "  Copy it to every machine, readable by its owner only, and start the server and",
        );
        env.note(&format!("  the nodes with  --key {shown}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_key_never_takes_the_place_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.key");
        let (mut env, screen) = Env::fake(&[], "");
        Keygen { file: file.clone() }.run(&mut env).unwrap();
        let key = ClusterKey::read(&file).unwrap();
        assert!(screen.err().contains(&key.fingerprint().to_string()), "{}", screen.err());
        let stop = Keygen { file: file.clone() }.run(&mut env).unwrap_err();
        let Stop::Failed(failure) = stop else { panic!("{stop:?}") };
        assert_eq!(failure.code.exit_status(), 9);
        assert_eq!(ClusterKey::read(&file).unwrap().fingerprint(), key.fingerprint());
    }
}
