//! The one place where changes are made: a change is made when its journal entry is on three nodes.
//!
//! ```text
//!   jobs that wait ─ one group ─> applied in one open transaction of the catalog
//!                                   │          (readers go on seeing the state before it)
//!                                   v
//!                                 the group's entries appended to every node's journal
//!                                   ├─ three nodes have them ──> transaction committed, all answered
//!                                   └─ not in time ──> in doubt: those who wait are told so, changes are
//!                                                      refused, and the append is tried until it is decided
//! ```
//!
//! The entries of a group are in the nodes' journals before they are in the catalog's file, so a server
//! that crashes in between finds them there when it starts. A group that was sent to no node did
//! certainly not happen and is rolled back. Where the catalog's disk is too full for what is decided,
//! the catalog is behind: it is filled up, and nothing else is changed, as soon as there is room.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Draft, Group, Pending};
use crate::core::cluster::replication::{DECIDED_WITHIN, Replication};
use crate::core::cluster::roster::Roster;
use crate::core::error::{Code, Error, Reached, Result, Troubles};
use crate::core::types::{NodeSet, WRITE_QUORUM};
use crate::core::wire::journal::Entry;
use crate::core::wire::node::{BODY_BYTES_MAX, ENTRIES_MAX, ENTRY_BYTES_MAX};

/// How often it is looked whether a group that is in doubt is decided.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A group takes no more jobs when it would fill more than half of a message to a node.
const GROUP_ENTRIES_MAX: usize = ENTRIES_MAX / 2;
const GROUP_RECORD_BYTES_MAX: usize = ENTRY_BYTES_MAX / 2;
const GROUP_BODY_BYTES_MAX: usize = BODY_BYTES_MAX / 2;

/// What has become of a group.
#[derive(Clone)]
enum Fate {
    /// These nodes have it.
    Decided(NodeSet),
    /// These nodes have it, and the catalog could not take it yet.
    Behind(NodeSet, String),
    /// These nodes have it for certain, others may.
    InDoubt(NodeSet, Troubles),
    /// It certainly did not happen.
    Refused(NodeSet, Troubles),
    /// Nor did it here.
    Failed(Code, String),
}

/// Tells whoever waits for a job.
type Completion = Box<dyn FnOnce(&Fate) + Send>;

/// A change that somebody waits for.
struct Job {
    run: Box<dyn FnOnce(&mut Group) -> Completion + Send>,
    refuse: Box<dyn FnOnce(Error) + Send>,
}

impl Job {
    /// A job, and where it is answered.
    fn of<T: Send + 'static>(
        job: impl FnOnce(&mut Draft<'_>) -> Result<T> + Send + 'static,
    ) -> (Job, Receiver<Result<(T, NodeSet)>>) {
        let (answer, answered) = bounded(1);
        let refused = answer.clone();
        let run = move |group: &mut Group| -> Completion {
            let outcome = group.attempt(job);
            Box::new(move |fate: &Fate| {
                let _ = answer.send(match (outcome, fate) {
                    // What is refused is refused whatever becomes of the others in the group.
                    (Err(error), _) => Err(error),
                    (Ok(value), Fate::Decided(nodes)) => Ok((value, *nodes)),
                    (Ok(_), Fate::Behind(nodes, why)) => Err(behind(*nodes, why)),
                    (Ok(_), Fate::InDoubt(confirmed, troubles)) => Err(Error::InDoubt {
                        confirmed: Reached(*confirmed),
                        troubles: troubles.clone(),
                    }),
                    (Ok(_), Fate::Failed(code, text)) => Err(Error::other(*code, text.clone())),
                    (Ok(_), Fate::Refused(reached, troubles)) => Err(Error::TooFewToChange {
                        reached: Reached(*reached),
                        troubles: troubles.clone(),
                    }),
                });
            })
        };
        let refuse = move |error| {
            let _ = refused.send(Err(error));
        };
        (Job { run: Box::new(run), refuse: Box::new(refuse) }, answered)
    }
}

fn behind(nodes: NodeSet, why: &str) -> Error {
    let text = format!(
        "the change was made ({nodes} have it), but it is not seen yet, since the server's own disk \
         could not take it: {why}"
    );
    Error::other(Code::InDoubt, text)
}

fn not_answered() -> Error {
    Error::other(Code::Unexpected, "the server makes no changes any more")
}

/// Makes changes, in groups.
pub struct Committer {
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    replication: Arc<Replication>,
    /// The jobs that wait while others are made, for the committer's thread; `None` where everything is
    /// done in the caller's thread.
    jobs: Option<(Sender<Job>, Receiver<Job>)>,
    inner: Mutex<Inner>,
    is_in_doubt: AtomicBool,
    is_behind: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// The group that is in doubt.
    open: Option<Open>,
    /// Entries that are decided and that the catalog could not take.
    unapplied: Vec<Entry>,
}

struct Open {
    group: Group,
    end: u64,
}

impl Committer {
    /// A committer, and what its thread takes its jobs from; without a thread
    /// everything is done by whoever submits.
    pub(super) fn new(
        catalog: Arc<Catalog>,
        roster: Arc<Roster>,
        replication: Arc<Replication>,
        threaded: bool,
    ) -> (Committer, Option<CommitterThread>) {
        let (jobs, work) = if threaded {
            let (jobs, work) = unbounded();
            (Some((jobs, work.clone())), Some(CommitterThread { work }))
        } else {
            (None, None)
        };
        let inner = Mutex::default();
        let committer = Committer {
            catalog,
            roster,
            replication,
            jobs,
            inner,
            is_in_doubt: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
        };
        (committer, work)
    }

    /// Makes a change, and waits until it is decided.
    ///
    /// # Errors
    /// Those of the job, and then nothing has changed; [`Error::TooFewToChange`],
    /// [`Error::EarlierInDoubt`], [`Error::TakenOver`], [`Error::NotReady`]: the same;
    /// [`Error::InDoubt`]: it may have been made or not.
    pub fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Draft<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.submit_counted(job).map(|(value, _)| value)
    }

    /// As [`Committer::submit`], with the nodes whose journals have it.
    ///
    /// # Errors
    /// As [`Committer::submit`].
    pub fn submit_counted<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Draft<'_>) -> Result<T> + Send + 'static,
    ) -> Result<(T, NodeSet)> {
        self.roster.may_change()?;
        self.submit_first(job)
    }

    /// The same before this server leads: its own first entry.
    pub(super) fn submit_first<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Draft<'_>) -> Result<T> + Send + 'static,
    ) -> Result<(T, NodeSet)> {
        let (job, answered) = Job::of(job);
        match &self.jobs {
            Some((jobs, work)) => {
                match self.inner.try_lock() {
                    // Nobody is at it: no other thread has to be woken.
                    Some(mut inner) => {
                        self.make_some(&mut inner, job, work);
                        if self.is_in_doubt() {
                            // The committer's thread settles it, or has the catalog catch up, and may be
                            // waiting for jobs.
                            let (nothing, _) = Job::of(|_| Ok(()));
                            jobs.send(nothing).map_err(|_| not_answered())?;
                        }
                    }
                    None => jobs.send(job).map_err(|_| not_answered())?,
                }
                answered.recv().map_err(|_| not_answered())?
            }
            None => {
                self.make(&mut self.inner.lock(), job, &mut || None);
                answered.try_recv().map_err(|_| not_answered())?
            }
        }
    }

    /// Makes these changes as one group, for simulations: everything is done in the caller's thread.
    pub fn submit_group<T: Send + 'static>(
        &self,
        jobs: Vec<impl FnOnce(&mut Draft<'_>) -> Result<T> + Send + 'static>,
    ) -> Vec<Result<T>> {
        let (jobs, answers): (VecDeque<_>, Vec<_>) = jobs.into_iter().map(Job::of).unzip();
        let mut jobs = jobs;
        while let Some(first) = jobs.pop_front() {
            self.make(&mut self.inner.lock(), first, &mut || jobs.pop_front());
        }
        let answer = |answered: Receiver<Result<(T, NodeSet)>>| {
            answered.try_recv().map_err(|_| not_answered())?.map(|(value, _)| value)
        };
        answers.into_iter().map(answer).collect()
    }

    /// May nodes have a change that the catalog does not have?
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt.load(Ordering::SeqCst) || self.is_behind()
    }

    /// Does the catalog lack what is decided, because its disk could not take it?
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::SeqCst)
    }

    /// Looks whether the group that is in doubt is decided, and fills up the catalog. For simulations, and
    /// for the thread.
    pub fn settle(&self) {
        let mut inner = self.inner.lock();
        self.settle_open(&mut inner);
        if let Err(error) = self.catch_up(&mut inner) {
            tracing::debug!("the catalog stays behind: {error}");
        }
    }

    /// Makes a group of this job and of those that wait.
    fn make_some(&self, inner: &mut Inner, first: Job, work: &Receiver<Job>) {
        let made = AssertUnwindSafe(|| self.make(inner, first, &mut || work.try_recv().ok()));
        // Without the one who makes them nothing could be changed any more. Whoever waits finds the
        // answer missing, and the group was rolled back.
        let _ = panic::catch_unwind(made);
    }

    /// Makes a group of this job and as many more as there are and fit, and answers them all.
    fn make(&self, inner: &mut Inner, first: Job, more: &mut dyn FnMut() -> Option<Job>) {
        self.settle_open(inner);
        let before = self.replication.end();
        let epoch = self.roster.leadership().epoch();
        let begun = self.ready(inner).and_then(|()| self.catalog.begin_group(epoch));
        let mut group = match begun {
            Ok(group) => group,
            Err(error) => {
                let (code, text) = (error.code(), error.to_string());
                (first.refuse)(error);
                while let Some(job) = more() {
                    (job.refuse)(Error::other(code, text.clone()));
                }
                return;
            }
        };
        let mut completions: Vec<Completion> = vec![(first.run)(&mut group)];
        while !is_full(&group)
            && let Some(job) = more()
        {
            completions.push((job.run)(&mut group));
        }
        let tell = |fate: &Fate| completions.into_iter().for_each(|tell| tell(fate));
        let Some(end) = group.entries().last().map(|pending| pending.entry.id) else {
            group.roll_back();
            tell(&Fate::Decided(self.replication.who_has(before.id)));
            return;
        };
        if let Err(error) = group.check() {
            tracing::warn!("a change is not made: {error}");
            group.roll_back();
            tell(&Fate::Failed(error.code(), error.to_string()));
            return;
        }
        self.replication.offer(group.entries());
        let have = self.replicate(before.id, end);
        if have.len() >= WRITE_QUORUM {
            let fate = self.decided(inner, Open { group, end }, have);
            tell(&fate);
            return;
        }
        let troubles = self.roster.troubles(have.complement());
        if self.replication.withdraw(group.entries(), before) {
            group.roll_back();
            tell(&Fate::Refused(self.roster.up(), troubles));
            return;
        }
        tracing::error!(
            "a change is in doubt: {} confirmed it, {WRITE_QUORUM} nodes are needed; nothing is \
             changed until it is decided. Not available: {troubles}",
            Reached(have)
        );
        inner.open = Some(Open { group, end });
        self.is_in_doubt.store(true, Ordering::SeqCst);
        tell(&Fate::InDoubt(have, troubles));
    }

    /// Sends what is offered behind entry `before`; gives the nodes that have entry `end`.
    fn replicate(&self, before: u64, end: u64) -> NodeSet {
        if self.jobs.is_some() {
            return self.replication.replicate(before, end, DECIDED_WITHIN);
        }
        self.replicate_inline(end)
    }

    fn replicate_inline(&self, end: u64) -> NodeSet {
        for id in self.roster.up().iter() {
            while self.roster.up().contains(id) && self.replication.round(id) {}
        }
        self.replication.who_has(end)
    }

    fn decided(&self, inner: &mut Inner, open: Open, have: NodeSet) -> Fate {
        let Open { group, end } = open;
        let entries: Vec<Entry> =
            group.entries().iter().map(|pending| pending.entry.clone()).collect();
        self.replication.decide(end);
        match group.commit() {
            Ok(()) => return Fate::Decided(have),
            Err(error) => tracing::warn!("the catalog could not take a change at once: {error}"),
        }
        inner.unapplied.extend(entries);
        match self.catch_up(inner) {
            Ok(()) => Fate::Decided(have),
            Err(error) => {
                tracing::error!(
                    "the catalog cannot take a change that the nodes have; nothing is changed until it \
                     can: {error}"
                );
                Fate::Behind(have, error.to_string())
            }
        }
    }

    /// Has the catalog take what is decided and what it could not take before.
    fn catch_up(&self, inner: &mut Inner) -> Result<()> {
        let done = self.catalog.apply(&inner.unapplied);
        if done.is_ok() {
            inner.unapplied.clear();
        }
        self.is_behind.store(!inner.unapplied.is_empty(), Ordering::SeqCst);
        done
    }

    fn settle_open(&self, inner: &mut Inner) {
        let Some(open) = inner.open.take() else { return };
        let have = if self.jobs.is_some() {
            self.replication.who_has(open.end)
        } else {
            self.replicate_inline(open.end)
        };
        if have.len() >= WRITE_QUORUM {
            tracing::info!("the change that was in doubt is decided: it was made");
            self.decided(inner, open, have);
        } else if self.roster.leadership().check().is_err() {
            // Another server decides about it.
            open.group.roll_back();
        } else {
            inner.open = Some(open);
        }
        self.is_in_doubt.store(inner.open.is_some(), Ordering::SeqCst);
    }

    /// Can a group be begun now?
    fn ready(&self, inner: &mut Inner) -> Result<()> {
        self.roster.leadership().check()?;
        if inner.open.is_some() {
            return Err(Error::EarlierInDoubt(self.roster.troubles(NodeSet::ALL)));
        }
        self.catch_up(inner)
    }
}

fn is_full(group: &Group) -> bool {
    let entries = group.entries();
    let records: usize = entries.iter().map(|pending| pending.entry.record.len()).sum();
    let of_node = |pending: &Pending| pending.pieces.as_ref().map_or(0, |p| 2 * p.unit_bytes());
    let body: usize = entries.iter().map(of_node).sum();
    entries.len() >= GROUP_ENTRIES_MAX
        || records >= GROUP_RECORD_BYTES_MAX
        || body >= GROUP_BODY_BYTES_MAX
}

/// What the committer's thread takes its jobs from: those that came while another thread made a group.
pub(super) struct CommitterThread {
    work: Receiver<Job>,
}

impl CommitterThread {
    /// Makes changes until nobody can submit any more.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub(super) fn start(self, committer: Arc<Committer>) -> Result<()> {
        thread::Builder::new()
            .name("committer".into())
            .spawn(move || self.run(&committer))
            .map(drop)
            .map_err(Error::io("cannot start a thread"))
    }

    fn run(&self, committer: &Committer) {
        loop {
            committer.settle();
            let first = if committer.is_in_doubt() {
                match self.work.recv_timeout(LOOK_AGAIN) {
                    Ok(job) => job,
                    Err(error) if error.is_timeout() => continue,
                    Err(_) => return,
                }
            } else {
                match self.work.recv() {
                    Ok(job) => job,
                    Err(_) => return,
                }
            };
            committer.make_some(&mut committer.inner.lock(), first, &self.work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::core::cluster::volume::fixture::fixture;
    use crate::core::path::FolderPath;
    use crate::core::types::NodeId;

    #[test]
    fn a_change_in_doubt_is_settled_although_no_other_one_follows() {
        let f = fixture();
        let (catalog, roster) = (f.cluster.catalog.clone(), f.cluster.roster.clone());
        let replication = f.cluster.replication.clone();
        let (committer, thread) = Committer::new(catalog, roster, replication.clone(), true);
        let committer = Arc::new(committer);
        thread.unwrap().start(committer.clone()).unwrap();
        for number in [2, 4] {
            f.node(number).holds_answers_back = true;
        }
        let (user, folder) = (f.user(), FolderPath::parse("a").unwrap());
        let made = committer.submit(move |draft| draft.make_folder(user, &folder, false));
        assert!(matches!(made, Err(Error::InDoubt { .. })), "{made:?}");
        let before = f.cluster.catalog.end().unwrap();
        f.node(2).holds_answers_back = false;
        let begun = Instant::now();
        while committer.is_in_doubt() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is settled");
            replication.round(NodeId::ALL[1]);
        }
        assert_eq!(f.cluster.catalog.end().unwrap().id, before.id + 1, "it was made");
    }

    #[test]
    fn what_the_nodes_have_and_the_catalog_had_no_room_for_is_made_as_soon_as_there_is_room() {
        let f = fixture();
        let (catalog, roster) = (f.cluster.catalog.clone(), f.cluster.roster.clone());
        let replication = f.cluster.replication.clone();
        let (committer, thread) =
            Committer::new(catalog.clone(), roster, replication.clone(), true);
        let committer = Arc::new(committer);
        thread.unwrap().start(committer.clone()).unwrap();
        let user = f.user();
        let make = |name: &str| {
            let folder = FolderPath::parse(name).unwrap();
            committer.submit(move |draft| draft.make_folder(user, &folder, false))
        };
        let (before, decided) = (catalog.end().unwrap(), replication.decided());
        catalog.commits_find_no_room.store(true, Ordering::SeqCst);
        let made = make("a").unwrap_err();
        assert_eq!(made.code(), Code::InDoubt, "{made}");
        assert!(made.to_string().contains("the change was made"), "{made}");
        assert!(committer.is_behind() && !catalog.is_in_doubt());
        assert_eq!((catalog.end().unwrap(), replication.decided()), (before, decided + 1));
        // What would come before it in the catalog is refused, and reaches no node.
        assert_eq!(make("b").unwrap_err().code(), Code::NoSpace);
        assert_eq!(replication.end().id, decided + 1);

        catalog.commits_find_no_room.store(false, Ordering::SeqCst);
        let begun = Instant::now();
        while committer.is_behind() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it catches up by itself");
            thread::yield_now();
        }
        assert_eq!(catalog.end().unwrap(), replication.end(), "it was made, once");
        assert_eq!(make("a").unwrap_err().code(), Code::Exists);
        make("b").unwrap();
        assert_eq!(catalog.end().unwrap().id, before.id + 2);
    }
}
