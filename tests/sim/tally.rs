//! What runs have done, counted.

/// What a run has done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) moved: u64,
    pub(crate) copied: u64,
    /// Files that got another time.
    pub(crate) times_set: u64,
    pub(crate) groups: u64,
    pub(crate) in_doubt: u64,
    pub(crate) read: u64,
    /// Stores that were refused for want of room on the nodes.
    pub(crate) no_room: u64,
    pub(crate) over_quota: u64,
    /// What was brought back.
    pub(crate) undone: u64,
    /// Files, folders and tops that were made what they were.
    pub(crate) set_back: u64,
    pub(crate) snapshots: u64,
    /// Clocks that were set.
    pub(crate) clocks_set: u64,
    /// What was sent of uploads.
    pub(crate) parts: u64,
    /// Stores that broke off.
    pub(crate) broken_off: u64,
    /// Parts of uploads that were copied.
    pub(crate) shared: u64,
    /// Uploads that have become files.
    pub(crate) joined: u64,
    pub(crate) taken_over: u64,
    pub(crate) recoveries: u64,
    /// Catalogs that were put back to an older copy.
    pub(crate) put_back: u64,
    /// Servers that have ended without another one to take over, since nodes had a higher epoch.
    pub(crate) ended: u64,
    /// Nodes whose folder was emptied or put back.
    pub(crate) damaged: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.answered += other.answered;
        self.moved += other.moved;
        self.copied += other.copied;
        self.times_set += other.times_set;
        self.groups += other.groups;
        self.in_doubt += other.in_doubt;
        self.read += other.read;
        self.no_room += other.no_room;
        self.over_quota += other.over_quota;
        self.undone += other.undone;
        self.set_back += other.set_back;
        self.snapshots += other.snapshots;
        self.clocks_set += other.clocks_set;
        self.parts += other.parts;
        self.broken_off += other.broken_off;
        self.shared += other.shared;
        self.joined += other.joined;
        self.taken_over += other.taken_over;
        self.recoveries += other.recoveries;
        self.put_back += other.put_back;
        self.ended += other.ended;
        self.damaged += other.damaged;
    }
}
