//! `palk storage`: one storage node.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::Args;

use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::service::Service;
use crate::core::error::{Code, Error};
use crate::core::io::disk::{Disk, FolderLock, RealDisk, create_folders};
use crate::core::io::listener::Listener;
use crate::core::io::reason;
use crate::core::node::service as node_service;
use crate::core::node::store::{BlockStore, lock_path};
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

    #[command(flatten)]
    service: Service,
}

impl Storage {
    /// Runs the node until it is told to end.
    ///
    /// # Errors
    /// If its folder or address cannot be used.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        self.service.start_log();
        let id = self.id;
        let folder = self.dir.unwrap_or_else(|| PathBuf::from(format!("files_{id}")));
        let folder = std::path::absolute(env.at(&folder)).map_err(|error| {
            let text = format!("cannot tell where {} is: {}", folder.display(), reason(&error));
            Failure::new(Code::LocalFile, text)
        })?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        create_folders(&*disk, &folder.join(".palk"))
            .map_err(Error::io(format!("cannot make the folder {}", folder.display())))?;
        let _lock = lock(&folder)?;
        let store = Arc::new(BlockStore::open(disk, &folder, id)?);
        tracing::info!("storage node {id} keeps its files in {}", folder.display());

        let default = format!("127.0.0.1:{}", BASE_PORT + u16::from(id.number()));
        let listener = Listener::bind(self.listen.as_deref().unwrap_or(&default))?;
        tracing::info!("storage node {id} listening on {}", listener.address());
        let state = listener.state();
        thread::spawn(move || node_service::run(&listener, &store));
        self.service.wait(env, &state);
        Ok(())
    }
}

fn lock(folder: &std::path::Path) -> Result<FolderLock, Stop> {
    let taken = FolderLock::take(&lock_path(folder))
        .map_err(Error::io(format!("cannot lock the folder {}", folder.display())))?;
    taken.ok_or_else(|| {
        let text = format!("another storage node uses the folder {}", folder.display());
        Failure::new(Code::Busy, text).hint("stop it, or name another folder with --dir").into()
    })
}
