//! What the doors count: how long each kind of request takes, and why requests fail.
//!
//! Where something is written into the log of who did what ([`audit`](super::audit)), it is counted as
//! well, so that the two agree. Counting is three atomic additions.

use std::time::Duration;

use crate::core::error::Code;
use crate::core::metrics::{Count, Labels, Latency, Page, words};
use crate::core::serve::door::Kind;

words! {
    /// What is asked for.
    pub Verb:
    /// A password or a token is looked at.
    SignIn = "sign-in",
    /// An account is made.
    SignUp = "sign-up",
    /// A session ends.
    SignOut = "sign-out",
    /// A token is made or revoked.
    Token = "token",
    /// A password is changed.
    Password = "password",
    /// A file comes.
    Store = "store",
    /// A part of an upload comes.
    StorePart = "store-part",
    /// An upload is begun, told of, completed or dropped.
    Upload = "upload",
    /// A file goes.
    Retrieve = "retrieve",
    /// A file is deleted.
    Delete = "delete",
    /// A file or folder is moved.
    Move = "move",
    /// A file or folder is copied.
    Copy = "copy",
    /// A folder is listed.
    List = "list",
    /// A folder is made.
    MakeFolder = "make-folder",
    /// A folder is removed.
    RemoveFolder = "remove-folder",
    /// What a file keeps besides its bytes is changed.
    Attributes = "attributes",
    /// What was is told or brought back.
    History = "history",
    /// How the cluster is.
    Status = "status",
}

words! {
    /// Where requests come in.
    pub Entrance:
    /// The session as it is specified, or as the programs of 2020 understand it.
    Plain = "plain",
    /// The extended session.
    Extended = "extended",
    /// `list`, `put`, `get`, `bye`.
    Share = "share",
    /// `OK@` and folders.
    Folder = "folder",
    /// One file a connection.
    Request = "request",
    /// HTTP, WebDAV.
    Web = "web",
}

impl From<Kind> for Entrance {
    fn from(kind: Kind) -> Entrance {
        match kind {
            Kind::Share => Entrance::Share,
            Kind::Folder => Entrance::Folder,
            Kind::Request => Entrance::Request,
        }
    }
}

/// What is counted at one entrance.
#[derive(Default, Debug)]
pub struct Meter {
    latencies: [Latency; Verb::COUNT],
    errors: [Count; Code::ALL.len()],
}

impl Meter {
    /// Counts a request that was answered after this time; with a code if it was not done.
    pub fn answered(&self, verb: Verb, time: Duration, failed: Option<Code>) {
        self.latencies[verb as usize].took(time);
        if let Some(code) = failed {
            self.errors[code as usize].add_one();
        }
    }
}

/// The meters of all entrances.
#[derive(Default, Debug)]
pub struct Meters([Meter; Entrance::COUNT]);

impl Meters {
    /// That of one.
    pub fn at(&self, entrance: Entrance) -> &Meter {
        &self.0[entrance as usize]
    }

    /// Tells what was counted. Of what has never been asked for nothing is told; of errors every code at
    /// the entrances that `are_open`, so that the first one of its kind is a rise as well.
    pub(super) fn tell(&self, page: &mut Page, are_open: impl Fn(Entrance) -> bool) {
        let open = || Entrance::ALL.iter().copied().filter(|entrance| are_open(*entrance));
        let door = |entrance: Entrance| ("door", entrance.as_str().to_owned());
        let latencies = open().flat_map(|entrance| {
            Verb::ALL.iter().filter_map(move |verb| {
                let told = self.at(entrance).latencies[*verb as usize].told();
                let labels: Labels = vec![door(entrance), ("verb", verb.as_str().to_owned())];
                (told.count > 0).then_some((labels, told))
            })
        });
        page.latencies(
            "request_seconds",
            "How long requests took, from the whole request to the answer, file included.",
            latencies,
        );
        let errors = open().flat_map(|entrance| {
            Code::ALL.into_iter().map(move |code| {
                let labels: Labels = vec![door(entrance), ("code", code.as_str().to_owned())];
                (labels, self.at(entrance).errors[code as usize].get())
            })
        });
        page.counters("errors", "Requests that were not done, by the code of the error.", errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told_of_entrances_that_are_open() {
        let meters = Meters::default();
        let millisecond = Duration::from_millis(1);
        meters.at(Entrance::Extended).answered(Verb::Store, millisecond, None);
        meters.at(Entrance::Extended).answered(Verb::Store, millisecond, Some(Code::NoSpace));
        meters.at(Entrance::Share).answered(Verb::List, millisecond, Some(Code::Busy));
        let mut page = Page::default();
        meters.tell(&mut page, |entrance| entrance != Entrance::Share);
        let text = page.encode();
        for line in [
            r#"palk_request_seconds_count{door="extended",verb="store"} 2"#,
            r#"palk_errors_total{door="extended",code="no-space"} 1"#,
            r#"palk_errors_total{door="plain",code="no-space"} 0"#,
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("share") && !text.contains(r#"verb="list""#), "{text}");
    }

    #[test]
    fn every_code_has_its_own_place() {
        for (at, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, at, "{code:?}");
        }
    }
}
