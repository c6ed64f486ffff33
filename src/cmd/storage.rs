//! `palk storage`: one storage node.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use clap::Args;

use crate::cmd::env::{Env, size};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::parse_bytes;
use crate::cmd::service::unit::Unit;
use crate::cmd::service::{self, Key, Service, notify};
use crate::core::error::{Code, Error};
use crate::core::io::disk::{Disk, FolderLock, RealDisk, create_folders};
use crate::core::io::listener::{Listener, raise_files_max};
use crate::core::io::monitor;
use crate::core::io::private;
use crate::core::io::reason;
use crate::core::io::tls::{Acceptor, check_without_key};
use crate::core::node::reserve::Reserve;
use crate::core::node::service as node_service;
use crate::core::node::store::{BlockStore, holds_node, lock_path};
use crate::core::types::NodeId;

/// The port of node 1 less one.
const BASE_PORT: u16 = 51130;

/// Run one of the four storage nodes
#[derive(Args, Debug)]
pub struct Storage {
    /// Which node this is: 1 to 4
    #[arg(long, value_name = "N", env = "PALK_NODE_ID")]
    id: NodeId,

    /// Where to listen [default: 127.0.0.1:5113N]
    #[arg(long, value_name = "HOST:PORT", env = "PALK_LISTEN")]
    listen: Option<String>,

    /// The node's folder [default: ./files_N]
    #[arg(long, value_name = "DIR", env = "PALK_DIR")]
    dir: Option<PathBuf>,

    /// Room that new files leave free; repairs may use it [default: 256MiB, at most 5% of the disk]
    #[arg(long, value_name = "SIZE", value_parser = parse_reserve)]
    reserve: Option<Reserve>,

    /// Refuse to start if the folder holds no node's files, as the empty mount point of a disk that is
    /// not mounted does
    #[arg(long)]
    expect_data: bool,

    /// Answer monitors over HTTP at this address: /metrics (Prometheus) and /health. It has to be one of
    /// this machine, unless ",open" is added. See docs/monitoring.md
    #[arg(long, value_name = "HOST:PORT[,open]")]
    metrics: Option<monitor::Spec>,

    #[command(flatten)]
    key: Key,

    #[command(flatten)]
    service: Service,
}

fn parse_reserve(text: &str) -> Result<Reserve, String> {
    parse_bytes(text).map(Reserve::Bytes)
}

impl Storage {
    /// Runs the node until it is told to end.
    ///
    /// # Errors
    /// If its folder or address cannot be used.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        let id = self.id;
        let default = format!("127.0.0.1:{}", BASE_PORT + u16::from(id.number()));
        let listen = self.listen.unwrap_or(default);
        let folder = self.dir.unwrap_or_else(|| PathBuf::from(format!("files_{id}")));
        if self.service.wants_unit() {
            let files = self.key.file().into_iter().chain(self.service.config());
            let unit = Unit {
                description: format!("Palk storage node {id}"),
                folder,
                files: files.map(Path::to_owned).collect(),
                addresses: [listen].into_iter().chain(self.metrics.map(|it| it.address)).collect(),
                reloads: false,
            };
            return unit.print(env);
        }
        private::keep_new_files();
        self.service.start_log();
        raise_files_max();
        let acceptor = match self.key.read(env)? {
            Some(key) => Some(Acceptor::for_cluster(&key)?),
            None => {
                check_without_key(&listen).map_err(|error| service::not_started(&error))?;
                None
            }
        };
        let monitor = service::open_monitor(self.metrics.as_ref())?;
        let folder = std::path::absolute(env.at(&folder)).map_err(|error| {
            let text = format!("cannot tell where {} is: {}", folder.display(), reason(&error));
            Failure::new(Code::LocalFile, text)
        })?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        if self.expect_data {
            check_data(&*disk, &folder)?;
        }
        create_folders(&*disk, &folder.join(".palk"))
            .map_err(Error::io(format!("cannot make the folder {}", folder.display())))?;
        let _lock = lock(&folder)?;
        if private::mend(&folder)? {
            tracing::warn!("{} was open to others and is private again", folder.display());
        }
        let store = BlockStore::open(disk, &folder, id)?.keeping(self.reserve.unwrap_or_default());
        let store = Arc::new(store);
        tracing::info!("storage node {id} keeps its files in {}", folder.display());
        log_room(&store);

        let listener = Listener::bind(&listen)?;
        tracing::info!("storage node {id} listening on {}", listener.address());
        let state = listener.state();
        let status = format!("node {id} listens on {}", listener.address());
        thread::spawn(move || node_service::run(&listener, &store, acceptor, monitor));
        self.service.wait(env, &state, || notify::ready(&status));
        Ok(())
    }
}

fn log_room(store: &BlockStore) {
    match store.room() {
        Ok(room) => tracing::info!(
            "{} of {} are free, {} of them for new files",
            size(room.free_bytes),
            size(room.total_bytes),
            size(room.spare_bytes)
        ),
        Err(error) => tracing::warn!("the room on the disk cannot be told: {}", reason(&error)),
    }
}

/// Nothing is made in a folder that should hold a node's files and does not.
fn check_data(disk: &dyn Disk, folder: &Path) -> Result<(), Stop> {
    let looked = holds_node(disk, folder);
    if looked.map_err(Error::io(format!("cannot look into the folder {}", folder.display())))? {
        return Ok(());
    }
    let text = format!("{} holds no node's files, and --expect-data is given", folder.display());
    let hint = "Mount its disk, or name the right folder with --dir. To begin a new folder, start the \
                node once without --expect-data.";
    Err(Failure::new(Code::LocalFile, text).hint(hint).into())
}

fn lock(folder: &Path) -> Result<FolderLock, Stop> {
    let taken = FolderLock::take(&lock_path(folder))
        .map_err(Error::io(format!("cannot lock the folder {}", folder.display())))?;
    taken.ok_or_else(|| {
        let text = format!("another storage node uses the folder {}", folder.display());
        Failure::new(Code::Busy, text).hint("Stop it, or name another folder with --dir.").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_a_size() {
        assert_eq!(parse_reserve("0"), Ok(Reserve::Bytes(0)));
        assert_eq!(parse_reserve("1GiB"), Ok(Reserve::Bytes(1 << 30)));
        assert!(parse_reserve("some").is_err());
    }
}
