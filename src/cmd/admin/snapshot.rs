//! `palk admin snapshot`: names for states that are to stay.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Common;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::cmd::{parse_time, when};
use crate::core::types::Moment;
use crate::core::wire::admin::{Line, Verb, parse};
use crate::core::wire::retention::{SnapshotAsk, SnapshotLine};

/// Keep states of all files under a name, list and delete them
///
/// What was there at the moment of a snapshot can be had back by its name, with --at NAME, as long as the
/// snapshot is there.
#[derive(Args, Debug)]
pub(super) struct Snapshot {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Keep the present state of everything
    Create {
        /// What it is called: it begins with a letter
        name: String,
        /// Delete it by itself after this time: 30d
        #[arg(long, value_name = "TIME", value_parser = parse_keep)]
        keep: Option<Duration>,
    },
    /// List all snapshots
    List,
    /// Delete a snapshot, and what only it has
    Delete {
        /// What it is called
        name: String,
    },
}

fn parse_keep(text: &str) -> Result<Duration, String> {
    let wrong = || "a number and s, m, h or d (12h, 30d)".to_owned();
    parse_time(text).filter(|time| !time.is_zero()).ok_or_else(wrong)
}

impl Snapshot {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let (ask, done) = match self.action {
            Action::List => return list(common, env),
            Action::Create { name, keep } => {
                let keep_ms = keep.map(|keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
                let done = format!("Made the snapshot {name}");
                (SnapshotAsk::Create { name, keep_ms }, done)
            }
            Action::Delete { name } => {
                let done = format!("Deleted the snapshot {name}");
                (SnapshotAsk::Delete { name }, done)
            }
        };
        super::ask(&common.dir, env, &Verb::Snapshot(ask), &mut |_| Ok(()))?;
        if common.json {
            return env.json("result", json!({"code": 0}));
        }
        env.note(&done);
        Ok(())
    }
}

fn list(common: &Common, env: &mut Env) -> Result<(), Stop> {
    let mut snapshots: Vec<SnapshotLine> = Vec::new();
    super::ask(&common.dir, env, &Verb::Snapshot(SnapshotAsk::List), &mut |line| {
        if let Line::Item(fields) = line {
            snapshots.push(parse(fields)?);
        }
        Ok(())
    })?;
    let until = |own: &SnapshotLine| own.until_ms.map(|ms| Moment(ms.saturating_mul(1000)));
    if common.json {
        for own in &snapshots {
            let (of, until) = (when::exact(Moment(own.of_us)), until(own).map(when::exact));
            env.json("item", json!({"name": own.name, "of": of, "until": until}))?;
        }
        return env.json("result", json!({"code": 0, "snapshots": snapshots.len()}));
    }
    if snapshots.is_empty() {
        env.note("There are no snapshots");
        return Ok(());
    }
    for own in &snapshots {
        let until = until(own).map_or_else(|| "it is deleted".to_owned(), when::shown);
        env.data(&format!(
            "{}  kept until {until:19}  {}",
            when::shown(Moment(own.of_us)),
            own.name
        ))?;
    }
    Ok(())
}
