//! `node.toml`: which node of which cluster a folder is, and the server that it serves.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::core::code::checksum;
use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::{Disk, Listed, read_whole, write_whole};
use crate::core::io::reason;
use crate::core::path::UserName;
use crate::core::types::{Claim, ClusterId, NodeId};

/// The version of the folder's layout that this program writes, and the only one that it reads.
pub const FOLDER_FORMAT: u32 = 5;

/// `node.toml` is a few lines.
const IDENTITY_BYTES_MAX: u64 = 4096;

/// What to do about a `node.toml` that is missing or damaged.
const WAY_BACK: &str = "To keep the folder, copy node.toml from another node of the cluster, give its \
                        line `node` this node's number and take out its line `sum`. Or start with \
                        an empty folder, which the server fills.";

/// What `node.toml` says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// The checksum of what follows, in hex; missing where a person wrote the file. It comes first,
    /// so that a file that is cut off has it and does not fit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<String>,
    format: u32,
    node: NodeId,
    /// Hex; missing until the first server has come.
    cluster: Option<String>,
    /// The highest epoch that a server has registered with; missing until one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// That server's id in hex; there if the epoch is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

impl Identity {
    pub(super) fn of(node: NodeId, cluster: Option<ClusterId>, claim: Option<Claim>) -> Identity {
        Identity {
            sum: None,
            format: FOLDER_FORMAT,
            node,
            cluster: cluster.map(|cluster| cluster.to_string()),
            epoch: claim.map(|claim| claim.epoch),
            server: claim.map(|claim| claim.server.to_string()),
        }
    }

    /// Reads the file of a folder; `None` if the folder is new.
    ///
    /// # Errors
    /// [`Code::Damaged`] if it is damaged, or missing where there are files; [`Code::Version`] if the
    /// folder is of another format; or it belongs to another node, or the disk fails.
    pub(super) fn read(disk: &dyn Disk, root: &Path, id: NodeId) -> Result<Option<Identity>> {
        let failed = |e| Error::io(format!("cannot prepare the folder {}", root.display()))(e);
        let path = identity_path(root);
        if let Some(bytes) = read_whole(disk, &path, IDENTITY_BYTES_MAX).map_err(failed)? {
            let identity = parse(&path, &bytes)?;
            return identity.check_node(id).map(Some);
        }
        if disk.exists(&root.join(".palk/staging")).map_err(failed)? {
            return Err(other_format(root, &1.into()));
        }
        // Taken for an empty node, it would have all its pieces called lost.
        if holds_files(disk, root).map_err(failed)? {
            return Err(unusable(&path, "it is missing, and there are files in the folder"));
        }
        Ok(None)
    }

    /// Writes the file, durably.
    pub(super) fn write(&self, disk: &dyn Disk, root: &Path) -> Result<()> {
        let path = identity_path(root);
        let text = self.text()?;
        let text = format!("sum = \"{}\"\n{text}", sum_of(&text));
        write_whole(disk, &path, text.as_bytes())
            .map_err(Error::io(format!("cannot write {}", path.display())))
    }

    /// It as text, without its sum.
    fn text(&self) -> Result<String> {
        toml::to_string(&Identity { sum: None, ..self.clone() })
            .map_err(|e| Error::other(Code::Unexpected, format!("cannot write node.toml: {e}")))
    }

    fn check_node(self, id: NodeId) -> Result<Identity> {
        let own = self.node;
        if own == id {
            return Ok(self);
        }
        let text = format!("this folder holds the files of node {own}, not of node {id}");
        let advice =
            format!("Start it with --id {own}, or give node {id} a folder of its own with --dir.");
        Err(Error::advised(Code::NotAllowed, text, advice))
    }

    /// The cluster that the node belongs to, and the server that it serves.
    pub(super) fn registered(&self, root: &Path) -> Result<(Option<ClusterId>, Option<Claim>)> {
        let bad = |what| unusable(&identity_path(root), what);
        let cluster = self.cluster.as_deref().map(str::parse).transpose();
        let cluster = cluster.map_err(|_| bad("its cluster is not an id"))?;
        let server = self.server.as_deref().map(str::parse).transpose();
        let server = server.map_err(|_| bad("its server is not an id"))?;
        let claim = match (self.epoch, server) {
            (None, None) => None,
            (Some(epoch), Some(server)) => Some(Claim { epoch, server }),
            _ => return Err(bad("it has an epoch without a server, or a server without an epoch")),
        };
        Ok((cluster, claim))
    }
}

/// Where the file is.
pub(super) fn identity_path(root: &Path) -> PathBuf {
    root.join(".palk/node.toml")
}

/// Which node of which cluster a folder says that it is; `None` if it has no `node.toml`. Only reads.
///
/// # Errors
/// [`Code::Damaged`] if the file cannot be read, [`Code::Version`] if it is of another format.
pub(super) fn identity_of(
    disk: &dyn Disk,
    root: &Path,
) -> Result<Option<(NodeId, Option<ClusterId>)>> {
    let path = identity_path(root);
    let Some(bytes) = read_whole(disk, &path, IDENTITY_BYTES_MAX)
        .map_err(|e| unusable(&path, &format!("it cannot be read: {}", reason(&e))))?
    else {
        return Ok(None);
    };
    let identity = parse(&path, &bytes)?;
    let (cluster, _) = identity.registered(root)?;
    Ok(Some((identity.node, cluster)))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Identity> {
    let text = std::str::from_utf8(bytes).map_err(|_| unusable(path, "it is not text"))?;
    let unread = |e: toml::de::Error| unusable(path, e.message().trim());
    // Another format may have other lines.
    let format = text.parse::<toml::Table>().map_err(unread)?.get("format").cloned();
    if let Some(format) = format.filter(|format| format.as_integer() != Some(FOLDER_FORMAT.into()))
    {
        return Err(other_format(path, &format));
    }
    let identity: Identity = toml::from_str(text).map_err(unread)?;
    if let Some(sum) = &identity.sum
        && *sum != sum_of(&identity.text()?)
    {
        return Err(unusable(path, "its lines do not fit its checksum"));
    }
    Ok(identity)
}

fn other_format(path: &Path, format: &toml::Value) -> Error {
    let (what, advice) = match format.as_integer() {
        Some(old) if (1..FOLDER_FORMAT.into()).contains(&old) => (
            format!("its format {old} is that of a development version before the first release"),
            "Start with an empty folder, which the server fills.",
        ),
        _ => (
            format!("its format {format} is not the {FOLDER_FORMAT} of this Palk"),
            "Start it with the version of Palk that it was last used with, or a newer one.",
        ),
    };
    Error::advised(Code::Version, format!("{}: {what}", path.display()), advice)
}

fn sum_of(text: &str) -> String {
    format!("{:016x}", checksum::unit(text.as_bytes()))
}

/// Has a node put anything here that users or the server gave it?
fn holds_files(disk: &dyn Disk, root: &Path) -> io::Result<bool> {
    let list = |at: &Path| match disk.list(at) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    };
    let is_users = |entry: &Listed| entry.is_folder && UserName::parse(&entry.name).is_ok();
    Ok(list(root)?.iter().any(is_users)
        || !list(&root.join("backup"))?.is_empty()
        || !list(&root.join(".palk/pieces"))?.is_empty())
}

fn unusable(path: &Path, what: &str) -> Error {
    Error::advised(Code::Damaged, format!("cannot use {}: {what}", path.display()), WAY_BACK)
}
