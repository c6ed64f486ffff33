//! Those who work in the background of a simulated server, each a step at a time.

use std::sync::Arc;
use std::time::Duration;

use palk::core::catalog::Phase;
use palk::core::cluster::Cluster;
use palk::core::cluster::pace::{Pace, Rest, Throttle};
use palk::core::cluster::reaper::Reaper;
use palk::core::cluster::repair::RepairWorker;
use palk::core::cluster::replace::Replacer;
use palk::core::cluster::scrub::{Options, Progress, Scrubber, Scrubs};
use palk::core::cluster::supervisor::NodeSupervisor;
use palk::core::types::NodeId;

/// More steps than anybody has to do at a time.
const STEPS_MAX: usize = 50;

pub(crate) struct Workers {
    supervisors: [NodeSupervisor; 4],
    repair: [RepairWorker; 4],
    pub(crate) reaper: Arc<Reaper>,
    scrubber: Scrubber,
    pub(crate) replacer: Replacer,
}

impl Workers {
    pub(crate) fn new(cluster: &Cluster) -> Workers {
        let traffic = cluster.volume.traffic().clone();
        let throttle = Throttle::new(Arc::new(Pace::new(None)), traffic, Rest::Never);
        Workers {
            supervisors: NodeId::ALL.map(|id| NodeSupervisor::new(id, cluster)),
            repair: NodeId::ALL
                .map(|id| RepairWorker::new(id, cluster, throttle.clone(), Arc::default())),
            reaper: Arc::new(Reaper::new(cluster)),
            scrubber: Scrubber::new(cluster, throttle.clone(), None, 0).unwrap(),
            replacer: Replacer::new(cluster, throttle, 0).unwrap(),
        }
    }

    /// Every node is probed, and what it holds compared with the catalog.
    pub(crate) fn probe(&mut self, now: Duration) {
        for supervisor in &mut self.supervisors {
            (0..STEPS_MAX).take_while(|_| supervisor.round(now)).count();
        }
    }

    /// The others do what there is to do.
    pub(crate) fn round(&mut self, now: Duration) {
        for worker in &mut self.repair {
            (0..STEPS_MAX).take_while(|_| worker.round(now)).count();
        }
        (0..STEPS_MAX).take_while(|_| self.reaper.round(now)).count();
        (0..STEPS_MAX).take_while(|_| self.scrubber.round(now)).count();
        (0..STEPS_MAX).take_while(|_| self.replacer.round(now)).count();
    }

    pub(crate) fn scrubs(&self) -> Scrubs {
        self.scrubber.scrubs()
    }

    /// Starts a scrub, unless one is running.
    pub(crate) fn start_scrub(&self, witness: bool) {
        let _ = self.scrubs().start(Options { witness, grace: Duration::ZERO });
    }

    /// How the last scrub has gone, if it has ended.
    pub(crate) fn ended_scrub(&self) -> Option<Progress> {
        let progress = self.scrubs().progress().unwrap();
        let has_ended = progress.scrub.as_ref().is_some_and(|scrub| scrub.phase == Phase::Done);
        has_ended.then_some(progress)
    }
}
