//! A run, one random event after the other: what users, operators, nodes and servers do, and what goes
//! wrong meanwhile.

use rand::RngExt;

use super::server::Server;
use super::world::World;

impl World {
    /// One random event.
    pub(crate) fn step(&mut self, depth: u32) {
        if self.faults.take_overs {
            // The oldest server may be one that still does something.
            let is_free = depth == 0 || self.servers.len() < 3;
            if self.random.random_ratio(1, 12) && is_free {
                self.take_over();
            }
            if self.servers.len() > 1 && self.random.random_bool(0.4) {
                self.at = self.random.random_range(0..self.servers.len());
            }
            if self.random.random_ratio(1, 8) {
                let which = self.random.random_range(0..4);
                let is_cut = self.random.random_ratio(1, 3);
                self.server().cut.lock().unwrap()[which] = is_cut;
            }
        }
        if let Some(server) = self.servers.get(self.at) {
            tracing::info!("-- server {} of epoch {}", server.number, server.claim().epoch);
        }
        let (user, path) = (self.a_user(), self.a_path());
        if self.faults.unsharing {
            self.drop_what_is_shared();
        }
        if self.faults.uploads && self.random.random_ratio(9, 20) {
            self.upload_somehow(user, path, depth);
        } else if self.random.random_ratio(if self.faults.history { 4 } else { 1 }, 10) {
            self.step_into_the_past(user, path, depth);
        } else {
            self.step_on(user, path, depth);
        }
        if depth == 0 {
            self.look();
        }
    }

    /// One that is about what was.
    fn step_into_the_past(&mut self, user: &'static str, path: &'static str, depth: u32) {
        match self.random.random_range(0..20) {
            0..=3 => self.make_some_snapshot(),
            4..=5 => self.remove_some_snapshot(),
            6..=8 => self.read_at_some_snapshot(user),
            9..=14 => self.set_back_somehow(user, depth),
            _ => {
                let path = if self.random.random_bool(0.6) { path } else { self.a_folder() };
                self.undo(user, path);
            }
        }
    }

    fn step_on(&mut self, user: &'static str, path: &'static str, depth: u32) {
        match self.random.random_range(0..97) {
            0..=19 => {
                let content = self.content();
                self.store(user, path, &content, depth);
            }
            20..=25 => {
                self.delete(user, path);
            }
            26..=36 => self.change_names(user),
            37..=41 => self.group(),
            42..=48 => {
                let path = self.a_path_to_read(user);
                self.read(user, &path, depth);
            }
            49..=55 => {
                let path = self.a_path_to_read(user);
                self.read_slowly(user, &path);
            }
            56..=63 => self.attend(),
            64..=66 => {
                let which = self.random.random_range(0..4);
                self.nodes[which].work(3);
            }
            67 => {
                let now = self.site.now();
                let snapshots = self.server().cluster.snapshots.clone();
                // Refused before it leads.
                let _ = snapshots.snapshot_now(now);
            }
            68 if self.faults.scrubs => {
                self.server().workers.start_scrub(false);
                self.attend();
            }
            68 => self.attend(),
            69..=70 => {
                let path = self.a_path_to_read(user);
                self.set_time(user, &path);
            }
            _ => self.fault(),
        }
    }

    /// What happens while something else is under way, perhaps with another server.
    pub(crate) fn meanwhile(&mut self, depth: u32) {
        if depth < 3 && self.random.random_ratio(1, 3) {
            let number = self.server().number;
            self.step(depth + 1);
            let at = self.servers.iter().position(|server| server.number == number);
            self.at = at.expect("no server that does something is removed");
        }
    }

    pub(crate) fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            if self.servers.is_empty() {
                self.start_server_somehow();
            }
            let loss = if self.faults.loss { 30 } else { 0 };
            self.links().loss = loss;
            self.guarded(|world| world.step(0));
            // Where nobody takes over, that is what one says that came too early to ask all nodes. Its
            // operator starts it again.
            let is_over = |server: &Server| server.is_taken_over();
            if !self.faults.take_overs && self.servers.get(self.at).is_some_and(is_over) {
                self.tally.ended += 1;
                self.end_server();
            }
        }
    }

    /// Starting may be interrupted by another crash. The catalog may be an older copy.
    pub(crate) fn start_server_somehow(&mut self) {
        while self.servers.is_empty() {
            let is_rolled_back = std::mem::take(&mut self.is_rolled_back);
            if let Some(at_hand) = self.lost.take() {
                self.recover(at_hand);
            } else if self.faults.disk_loss
                && !self.catalog_copies.is_empty()
                && self.may_lose_votes()
                && (is_rolled_back || self.random.random_ratio(1, 4))
            {
                let which = self.random.random_range(0..self.catalog_copies.len());
                self.database = self.site.copy_of(&self.catalog_copies[which]);
                self.tally.put_back += 1;
            }
            self.start_server();
        }
    }
}
