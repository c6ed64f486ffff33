//! How a door is named on the command line: `KIND=ADDR,user=NAME[,folder=PATH][,open]`.

use std::fmt;
use std::str::FromStr;

use crate::core::error::{Code, Error, Result};
use crate::core::io::net::is_loopback;
use crate::core::path::{FolderPath, UserName};

/// The port of the share door where none is named.
pub const SHARE_PORT: u16 = 30001;

/// The ports that the file request may have; 0 lets the system choose.
const REQUEST_PORTS: std::ops::RangeInclusive<u16> = 1024..=64000;

/// What a door speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `list`, `put`, `get`, `bye`.
    Share,
    /// `OK@` and folders.
    Folder,
    /// One file a connection, to be read only.
    Request,
}

impl Kind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Share => "share",
            Kind::Folder => "folder",
            Kind::Request => "request",
        }
    }

    fn parse(text: &str) -> Option<Kind> {
        [Kind::Share, Kind::Folder, Kind::Request].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A door as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    /// What it speaks.
    pub kind: Kind,
    /// Where it listens, `HOST:PORT`.
    pub address: String,
    /// The account that it acts as.
    pub user: UserName,
    /// What it shows as its top folder.
    pub folder: FolderPath,
    /// Whether others than this machine may reach it.
    pub is_open: bool,
}

impl Spec {
    /// Refuses a door that others could reach without this having been asked for.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] with what to do, [`Code::Usage`] if the address is none.
    pub fn check(&self) -> Result<()> {
        if is_loopback(&self.address)? || self.is_open {
            return Ok(());
        }
        let does = if self.kind == Kind::Request { "reads" } else { "reads and changes" };
        let Spec { kind, address, user, .. } = self;
        let text = format!(
            "the door {kind} at {address} is not on this machine alone, and knows neither passwords \
             nor encryption: whoever reaches it {does} the files of {user}"
        );
        let advice = "Name an address of this machine (127.0.0.1). If others are meant to reach it, add \
                      \",open\" to the door.";
        Err(Error::advised(Code::NotAllowed, text, advice))
    }
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Spec, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (kind, address) = first.split_once('=').unwrap_or((first, ""));
        let kind = Kind::parse(kind)
            .ok_or_else(|| format!("there is no door {kind:?}, only share, folder and request"))?;
        let address = with_port(kind, address)?;
        let (mut user, mut folder, mut is_open) = (None, None, false);
        for part in parts {
            match part.split_once('=') {
                Some(("user", name)) if user.is_none() => {
                    user = Some(UserName::parse(name).map_err(|why| why.to_string())?);
                }
                Some(("folder", path)) if folder.is_none() => {
                    folder = Some(FolderPath::parse_rooted(path).map_err(|why| why.to_string())?);
                }
                None if part == "open" => is_open = true,
                _ => return Err(format!("{part:?} is not one of user=NAME, folder=PATH, open")),
            }
        }
        let user = user.ok_or("a door needs an account that it acts as: user=NAME")?;
        Ok(Spec { kind, address, user, folder: folder.unwrap_or_default(), is_open })
    }
}

fn with_port(kind: Kind, address: &str) -> std::result::Result<String, String> {
    let host = if address.is_empty() { "127.0.0.1" } else { address };
    let has_port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match (kind, has_port) {
        (Kind::Share, None) => Ok(format!("{host}:{SHARE_PORT}")),
        (Kind::Request, Some(Ok(port))) if port != 0 && !REQUEST_PORTS.contains(&port) => {
            let (first, last) = (REQUEST_PORTS.start(), REQUEST_PORTS.end());
            Err(format!("the port of a door request is {first} to {last}, not {port}"))
        }
        (_, Some(Ok(_))) => Ok(host.to_owned()),
        _ => Err(format!("the door {kind} needs its address: {kind}=HOST:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<Spec, String> {
        text.parse()
    }

    #[test]
    fn a_door_is_read_as_it_is_written() {
        let spec = parse("folder=127.0.0.1:4000,user=demo,folder=/up/x,open").unwrap();
        assert_eq!((spec.kind, spec.address.as_str()), (Kind::Folder, "127.0.0.1:4000"));
        assert_eq!((spec.user.as_str(), spec.folder.as_str()), ("demo", "up/x"));
        assert!(spec.is_open);
        let spec = parse("share=10.0.0.1,user=demo").unwrap();
        assert_eq!(spec.address, "10.0.0.1:30001");
        assert!(spec.folder.is_top() && !spec.is_open);
        assert_eq!(parse("share,user=demo").unwrap().address, "127.0.0.1:30001");
        assert_eq!(parse("request=[::1]:5000,user=demo").unwrap().address, "[::1]:5000");
        for (wrong, why) in [
            ("", "no door"),
            ("ftp=127.0.0.1:1,user=demo", "no door"),
            ("folder,user=demo", "needs its address"),
            ("folder=localhost,user=demo", "needs its address"),
            ("folder=localhost:x,user=demo", "needs its address"),
            ("request=127.0.0.1:80,user=demo", "1024 to 64000"),
            ("request=127.0.0.1:64001,user=demo", "1024 to 64000"),
            ("share=127.0.0.1:1", "user=NAME"),
            ("share=127.0.0.1:1,user=", "a user name is"),
            ("share=127.0.0.1:1,user=a,user=b", "is not one of"),
            ("share=127.0.0.1:1,user=a,folder=../b", "must not leave"),
            ("share=127.0.0.1:1,user=a,shut", "is not one of"),
        ] {
            let said = parse(wrong).unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_door_that_others_reach_has_to_be_asked_for() {
        let check = |text: &str| parse(text).unwrap().check();
        assert!(check("share=127.0.0.1:0,user=demo").is_ok());
        assert!(check("share=0.0.0.0:0,user=demo,open").is_ok());
        let refused = check("share=0.0.0.0:0,user=demo").unwrap_err();
        assert_eq!(refused.code(), Code::NotAllowed);
        assert!(refused.to_string().contains("\",open\""), "{refused}");
    }
}
