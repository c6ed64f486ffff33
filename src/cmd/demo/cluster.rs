//! The demo's cluster: four nodes and a server on ports that the system chooses.
//!
//! What happens is learnt from the processes' logs. A node keeps its address for good: the server
//! remembers it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::child::{Child, log_from, size};
use super::resources::{Resources, Who};
use crate::cmd::failure::Failure;
use crate::core::error::Code;
use crate::core::io::reason;
use crate::core::types::{NODE_COUNT, NodeId};

/// Much longer than anything here takes, even on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an address may be taken by something else for a moment.
const ADDRESS_TAKEN: Duration = Duration::from_secs(5);

/// Between two looks at a log.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// The four nodes and the server.
pub(super) struct Cluster {
    resources: Resources,
    folder: PathBuf,
    program: PathBuf,
    addresses: [String; NODE_COUNT],
    server: String,
    /// How long the server's log was when a node was last seen to be up.
    up_at: [u64; NODE_COUNT],
}

/// What is known of a node's process.
pub(super) enum State {
    Running {
        pid: u32,
    },
    /// Killed by the demo.
    Killed,
    /// Ended in another way, as the system says.
    Ended(String),
}

impl Cluster {
    /// Starts the nodes.
    ///
    /// # Errors
    /// If one does not start, with the end of its log.
    pub(super) fn start(resources: &Resources) -> Result<Cluster, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            let text = format!("cannot tell which program this is: {}", reason(&error));
            Failure::new(Code::Unexpected, text)
        })?;
        let any = "127.0.0.1:0".to_owned();
        let mut cluster = Cluster {
            resources: resources.clone(),
            folder: resources.folder(),
            program,
            addresses: [const { String::new() }; NODE_COUNT],
            server: String::new(),
            up_at: [0; NODE_COUNT],
        };
        for id in NodeId::ALL {
            cluster.spawn(Who::Node(id), &any)?;
        }
        for id in NodeId::ALL {
            cluster.addresses[id.index()] = cluster.listening(Who::Node(id))?;
        }
        Ok(cluster)
    }

    /// Starts the server and waits until it has all its nodes.
    ///
    /// # Errors
    /// If it does not start, with the end of its log.
    pub(super) fn start_server(&mut self) -> Result<(), Failure> {
        self.spawn(Who::Server, "127.0.0.1:0")?;
        self.server = self.listening(Who::Server)?;
        self.wait_for(Who::Server, "find all four nodes", |log| {
            log.contains("Connected to all data servers.").then_some(())
        })
    }

    /// Where the server listens.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The demo's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The program that all of them are.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn address(&self, id: NodeId) -> &str {
        &self.addresses[id.index()]
    }

    /// The folder of a node.
    pub(super) fn node_folder(&self, id: NodeId) -> PathBuf {
        self.folder.join(format!("files_{id}"))
    }

    pub(super) fn pid(&self, who: Who) -> u32 {
        self.resources.open().child(who).as_ref().map_or(0, Child::pid)
    }

    pub(super) fn state(&self, id: NodeId) -> State {
        match self.resources.open().child(Who::Node(id)) {
            None => State::Killed,
            Some(child) => match child.ended() {
                None => State::Running { pid: child.pid() },
                Some(status) => State::Ended(status.to_string()),
            },
        }
    }

    /// Kills a node.
    pub(super) fn kill(&mut self, id: NodeId) {
        self.up_at[id.index()] = size(&self.log_of(Who::Server));
        let mut inner = self.resources.open();
        if let Some(mut child) = inner.child(Who::Node(id)).take() {
            child.kill();
        }
    }

    /// Starts a node again at the address that it had, and waits until the server has found it.
    ///
    /// # Errors
    /// If it does not start or is not found, with the end of the log that tells why.
    pub(super) fn start_again(&mut self, id: NodeId) -> Result<(), Failure> {
        let up_at = self.up_at[id.index()];
        let lost = format!("lost data server {id}:");
        // A server that never missed it would not say that it is back.
        self.server_says(up_at, &format!("miss node {id}"), &lost)?;
        let lost_at = size(&self.log_of(Who::Server));
        self.restart(id)?;
        let found = format!("connected to data server {id}\n");
        self.server_says(lost_at, &format!("find node {id}"), &found)?;
        self.up_at[id.index()] = lost_at;
        Ok(())
    }

    fn restart(&mut self, id: NodeId) -> Result<(), Failure> {
        let begun = Instant::now();
        let address = self.address(id).to_owned();
        loop {
            self.spawn(Who::Node(id), &address)?;
            match self.listening(Who::Node(id)) {
                // It is in the range of outgoing connections, one of which may have it for a while.
                Err(failure)
                    if begun.elapsed() < ADDRESS_TAKEN
                        && failure.hint.as_ref().is_some_and(|hint| hint.contains("in use")) =>
                {
                    thread::sleep(LOOK_EVERY * 25);
                }
                done => return done.map(drop),
            }
        }
    }

    fn log_of(&self, who: Who) -> PathBuf {
        let name = match who {
            Who::Node(id) => format!("node_{id}.log"),
            Who::Server => "server.log".to_owned(),
        };
        self.folder.join("logs").join(name)
    }

    fn spawn(&self, who: Who, listen: &str) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        match who {
            Who::Node(id) => {
                command.args(["storage", "--id", &id.to_string(), "--listen", listen]);
                command.arg("--dir").arg(self.node_folder(id));
            }
            Who::Server => {
                command.args(["server", "--listen", listen, "--max-file-size", "none"]);
                command.arg("--dir").arg(self.folder.join("user_database"));
                self.addresses.iter().for_each(|address| {
                    command.args(["--node", address]);
                });
            }
        }
        command.current_dir(&self.folder);
        let log = self.log_of(who);
        // With the lock held: a process that has started is one that will be ended.
        let mut inner = self.resources.open();
        *inner.child(who) = Some(Child::start(command, &log)?);
        Ok(())
    }

    /// The address that a process says it listens on.
    fn listening(&self, who: Who) -> Result<String, Failure> {
        self.wait_for(who, "start", |log| {
            let (_, after) = log.split_once(" listening on ")?;
            // Without its end it may be half an address.
            let (address, _) = after.split_once('\n')?;
            Some(address.trim().to_owned())
        })
    }

    fn server_says(&self, from: u64, what: &str, text: &str) -> Result<(), Failure> {
        let log = self.log_of(Who::Server);
        self.wait_for(Who::Server, what, |_| log_from(&log, from).contains(text).then_some(()))
    }

    /// Waits until a process's log has something.
    fn wait_for<T>(
        &self,
        who: Who,
        what: &str,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        loop {
            let mut inner = self.resources.open();
            let Some(child) = inner.child(who) else {
                return Err(Failure::new(Code::Unexpected, format!("{who} is not running")));
            };
            let ended = child.ended(); // before its log is read, which is whole then
            if let Some(found) = find(&child.log()) {
                return Ok(found);
            }
            let why = match ended {
                Some(status) => format!("{who} ended ({status}) and did not {what}"),
                None if begun.elapsed() > PATIENCE => {
                    format!("{who} did not {what} within {} s", PATIENCE.as_secs())
                }
                None => {
                    drop(inner);
                    thread::sleep(LOOK_EVERY);
                    continue;
                }
            };
            return Err(Failure::new(Code::Unexpected, why).hint(child.last_words()));
        }
    }
}
