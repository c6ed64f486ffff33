//! `palk server`: the main server.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use crossbeam_channel::bounded;

use crate::cmd::env::{Env, Hangups};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::service::unit::Unit;
use crate::cmd::service::{self, Ending, Key, Service, notify};
use crate::cmd::{parse_bytes, parse_time};
use crate::core::error::Code;
use crate::core::io::datagram::host_name;
use crate::core::io::listener::raise_files_max;
use crate::core::io::monitor;
use crate::core::io::{private, reason};
use crate::core::serve::discovery::{Announced, Answering, Discovery};
use crate::core::serve::door::{Door, Kind, Spec};
use crate::core::serve::files::{FILE_BYTES_MAX, Policy};
use crate::core::serve::server::{Config, Server as Core};
use crate::core::serve::upkeep::{Keep, RATE_MIN, Rates, Rung, Schedule};
use crate::core::session::Dialect;
use crate::core::types::WRITE_QUORUM;
use crate::core::wire::discovery::{PORT, ServiceName};

/// How often the service manager is told of a change of the status.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Run the main server
#[derive(Args, Debug)]
pub struct Server {
    /// Where to listen
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:17777", env = "PALK_LISTEN")]
    listen: String,

    /// Where a storage node is; four times, nodes 1 to 4 in order. Remembered from the first start
    #[arg(long = "node", value_name = "HOST:PORT")]
    nodes: Vec<String>,

    /// The folder of the user database
    #[arg(long, value_name = "DIR", default_value = "user_database", env = "PALK_DIR")]
    dir: PathBuf,

    /// What clients get that do not ask for the extended session
    #[arg(long, value_enum, default_value_t = DialectName::Spec)]
    dialect: DialectName,

    /// The largest file that is taken: 100MB, 2GiB, or "none"
    #[arg(long, value_name = "SIZE", default_value = "100MB", value_parser = parse_size)]
    max_file_size: u64,

    /// How many bytes a second repairs may read from the nodes: 20MB, or "none" for no limit
    #[arg(long, value_name = "SIZE", default_value = "none", value_parser = parse_rate)]
    heal_rate: Rate,

    /// How many bytes a second the nodes may read for a scrub, all together: 50MB, or "none"
    #[arg(long, value_name = "SIZE", default_value = "50MB", value_parser = parse_rate)]
    scrub_rate: Rate,

    /// How long after a scrub the next one begins: 7d, 12h, or "never"
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_every)]
    scrub_every: Every,

    /// How long what was replaced or deleted can be had back: 7d, "none", or "forever". It gives way
    /// earlier, the oldest first, where a quota or the nodes are short of room
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_keep)]
    keep_versions: Keep,

    /// Make a snapshot this often: 1h
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    snapshot_every: Option<Duration>,

    /// Which of these snapshots to keep: for so long, one of each period
    #[arg(
        long,
        value_name = "LADDER",
        default_value = "24h:hourly,30d:daily",
        value_delimiter = ','
    )]
    #[arg(value_parser = parse_rung)]
    keep_snapshots: Vec<Rung>,

    /// Start although another server is at work on these nodes; that one ends. What it has stored
    /// or deleted since this user database was copied is not known here
    #[arg(long, conflicts_with = "print_unit")]
    take_over: bool,

    #[command(flatten)]
    key: Key,

    /// A certificate for clients, PEM, instead of one that the server makes for itself
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Let clients on other machines speak plain text, passwords included
    #[arg(long)]
    allow_plaintext: bool,
    /// Let nobody make an account by signing up
    #[arg(long)]
    no_signup: bool,

    /// How much each account may store where nothing else was said for it: 10GB, or "none"
    #[arg(long, value_name = "SIZE", default_value = "none", value_parser = parse_quota)]
    quota: DefaultQuota,

    /// Room that is kept on the disk of the user database, so that a full disk does not stop the server
    /// [default: 16MiB, at most an eighth of the disk]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    reserve: Option<u64>,

    /// Let clients find this server by "palk client scan", under this name or that of the host
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    discoverable: Option<Option<ServiceName>>,

    /// Where those who look for services are answered (UDP) [default: 0.0.0.0:30000; for no more than
    /// a share door on this machine, 127.0.0.1:30000]
    #[arg(long, value_name = "HOST:PORT")]
    discovery_listen: Option<String>,

    /// Another door to the files of one account: KIND is share (port 30001 if none is named), folder
    /// or request. None of them knows passwords or encryption, so ADDR has to be one of this machine,
    /// unless ",open" is added. See docs/doors.md
    #[arg(long = "door", value_name = "KIND=ADDR,user=NAME[,folder=PATH][,open]")]
    doors: Vec<Spec>,

    /// Serve files over HTTP at this address: WebDAV at /dav/, for Finder, Explorer, rclone and others, and
    /// /health. Encrypted as for clients; plain HTTP from this machine only, unless --allow-plaintext. See
    /// docs/web.md
    #[arg(long, value_name = "HOST:PORT")]
    web: Option<String>,

    /// Answer monitors over HTTP at this address: /metrics (Prometheus) and /health. It has to be one of
    /// this machine, unless ",open" is added. See docs/monitoring.md
    #[arg(long, value_name = "HOST:PORT[,open]")]
    metrics: Option<monitor::Spec>,

    #[command(flatten)]
    service: Service,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum DialectName {
    /// The session as it is specified
    Spec,
    /// What the programs of 2020 understand
    #[value(name = "2020")]
    Year2020,
}

/// Bytes per second, if there is a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rate(Option<u64>);

/// A time between two, if there is to be a second one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Every(Option<Duration>);

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "none" {
        return Ok(Rate(None));
    }
    let rate = parse_bytes(text)?;
    if rate < RATE_MIN {
        return Err(format!("at least {RATE_MIN} bytes a second, or \"none\" for no limit"));
    }
    Ok(Rate(Some(rate)))
}

fn parse_every(text: &str) -> Result<Every, String> {
    if text == "never" || text == "0" {
        return Ok(Every(None));
    }
    let wrong = || "a number and s, m, h or d (90m, 12h, 7d), or \"never\"".to_owned();
    let every = parse_time(text).ok_or_else(wrong)?;
    Ok(Every((!every.is_zero()).then_some(every)))
}

fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || "a number and s, m, h or d (90m, 12h, 7d)".to_owned();
    parse_time(text).filter(|time| !time.is_zero()).ok_or_else(wrong)
}

fn parse_keep(text: &str) -> Result<Keep, String> {
    match text {
        "none" | "0" => Ok(Keep::Nothing),
        "forever" => Ok(Keep::Forever),
        _ => {
            parse_span(text).map(Keep::For).map_err(|why| format!("{why}, \"none\" or \"forever\""))
        }
    }
}

/// `24h:hourly`, `30d:daily`, `2h:15m`
fn parse_rung(text: &str) -> Result<Rung, String> {
    let wrong = || "a time and a period: 24h:hourly, 30d:daily, 365d:weekly or 2h:15m".to_owned();
    let (span, period) = text.split_once(':').ok_or_else(wrong)?;
    let hours = |count: u64| Duration::from_secs(3600 * count);
    let period = match period {
        "hourly" => hours(1),
        "daily" => hours(24),
        "weekly" => hours(7 * 24),
        _ => parse_span(period)?,
    };
    Ok(Rung { span: parse_span(span)?, period })
}

/// A quota for all accounts, in bytes; nothing for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct DefaultQuota(Option<u64>);

fn parse_quota(text: &str) -> Result<DefaultQuota, String> {
    if text == "none" {
        return Ok(DefaultQuota(None));
    }
    parse_bytes(text).map(|bytes| DefaultQuota(Some(bytes)))
}

/// Reads the size of the largest file, in bytes.
///
/// # Errors
/// Why it is no size, or that the format has no room for such files.
pub fn parse_size(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(FILE_BYTES_MAX);
    }
    let size = parse_bytes(text)?;
    if size > FILE_BYTES_MAX {
        return Err(format!("at most {FILE_BYTES_MAX} bytes"));
    }
    Ok(size)
}

impl Server {
    fn unit(&self) -> Unit {
        let tls = [self.tls_cert.as_deref(), self.tls_key.as_deref()];
        let files = [self.key.file(), self.service.config()].into_iter().chain(tls).flatten();
        let discovery = self.discovery_listen.iter().cloned();
        let doors = self.doors.iter().map(|door| door.address.clone());
        let metrics = self.metrics.iter().map(|metrics| metrics.address.clone());
        Unit {
            description: "Palk server".to_owned(),
            folder: self.dir.clone(),
            files: files.map(Path::to_owned).collect(),
            addresses: [self.listen.clone()]
                .into_iter()
                .chain(discovery)
                .chain(doors)
                .chain(metrics)
                .chain(self.web.clone())
                .collect(),
            reloads: true,
        }
    }

    /// Runs the server until it is told to end.
    ///
    /// # Errors
    /// If its folder, its address or its nodes cannot be used.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        if self.service.wants_unit() {
            return self.unit().print(env);
        }
        // Before the first thread, which is the log's.
        let hangups = Hangups::hold();
        private::keep_new_files();
        self.service.start_log();
        raise_files_max();
        let nodes = match self.nodes.len() {
            0 => None,
            4 => self.nodes.try_into().ok(),
            count => {
                let text = format!("--node must be given four times (or not at all), not {count}");
                let hint = "Name all four, or none: they are remembered from the first start.";
                return Err(Failure::new(Code::Usage, text).hint(hint).into());
            }
        };
        let certificate = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        let config = Config {
            listen: self.listen,
            nodes,
            folder: env.at(&self.dir),
            dialect: match self.dialect {
                DialectName::Spec => Dialect::Spec,
                DialectName::Year2020 => Dialect::Year2020,
            },
            file_bytes_max: self.max_file_size,
            rates: Rates {
                heal: self.heal_rate.0,
                scrub: self.scrub_rate.0,
                scrub_every: self.scrub_every.0,
                keep: self.keep_versions,
                snapshots: self
                    .snapshot_every
                    .map(|every| Schedule { every, rungs: self.keep_snapshots }),
            },
            take_over: self.take_over,
            key: self.key.read(env)?,
            certificate: certificate.map(|(cert, key)| [env.at(cert), env.at(key)]),
            allow_plaintext: self.allow_plaintext,
            policy: Policy { sign_up: !self.no_signup, quota: self.quota.0 },
            doors: self.doors,
            web: self.web,
            reserve: self.reserve,
        };
        // Before any node is asked for anything.
        for spec in &config.doors {
            spec.check().map_err(|error| service::not_started(&error))?;
        }
        let monitor = service::open_monitor(self.metrics.as_ref())?;
        let listen = self.discovery_listen.as_deref();
        let discovery = open_discovery(self.discoverable.is_some(), listen, &config.doors)?;
        let server = Core::open(&config).map_err(|error| service::not_started(&error))?;
        let folder = std::path::absolute(&self.dir).unwrap_or(self.dir);
        tracing::info!("server keeps its user database in {}", folder.display());
        tracing::info!("server listening on {}", server.address());
        tracing::info!("server's fingerprint is {}", server.fingerprint());
        tracing::info!("connecting to the data servers at {}", server.nodes().join(", "));
        server.doors().for_each(log_door);
        if let Some(address) = server.web_address() {
            tracing::info!("web on https://{address}, WebDAV at https://{address}/dav/");
        }
        let state = server.state();
        let server = Arc::new(server);
        if let Some(answering) = discovery {
            announce(answering, self.discoverable, &server)?;
        }
        if let Some(monitor) = monitor {
            monitor.start(server.monitored()).map_err(|error| Failure::from(&error))?;
        }
        reload_on_hangup(hangups, &server);
        let told = server.clone();
        let tell_ready = move || {
            notify::ready(&status(&told));
            if notify::is_heard() {
                thread::spawn(move || tell_status(&told));
            }
        };
        let (tell, by_itself) = bounded(1);
        let (running, watched) = (server.clone(), server.clone());
        thread::spawn(move || running.run());
        thread::spawn(move || tell.send(taken_over(watched.wait_until_taken_over())));
        let ending = Ending { by_itself, last: Box::new(move || server.say_bye()) };
        Ok(self.service.wait_or(env, &state, tell_ready, ending)?)
    }
}

/// Reads the certificate again with each SIGHUP.
fn reload_on_hangup(hangups: io::Result<Hangups>, server: &Arc<Core>) {
    let reloaded = server.clone();
    let started = hangups.and_then(|hangups| hangups.each(move || reload_certificate(&reloaded)));
    if let Err(error) = started {
        tracing::warn!("SIGHUP will not reload the certificate: {}", reason(&error));
    }
}

fn reload_certificate(server: &Core) {
    notify::reloading();
    let before = server.fingerprint();
    match server.reload_certificate() {
        Ok(()) => {
            let now = server.fingerprint();
            tracing::info!("the certificate was reloaded; the server's fingerprint is {now}");
            if now != before {
                tracing::warn!(
                    "the key is another one: clients that know the server by its former fingerprint \
                     {before} refuse it until they are told of the new one (palk client trust)"
                );
            }
        }
        Err(error) => {
            tracing::warn!("the certificate was not reloaded, the former one stays: {error}");
        }
    }
    notify::reloaded();
}

/// What the service manager shows.
fn status(server: &Core) -> String {
    let up = server.nodes_up();
    match server.leads() {
        true if up >= WRITE_QUORUM => format!("leads the cluster, {up} of 4 nodes are up"),
        false if up >= WRITE_QUORUM => "takes up the journals of the nodes".to_owned(),
        _ => format!("waits for nodes: {up} of 4 are up, storing needs {WRITE_QUORUM}"),
    }
}

/// Tells the service manager when that changes.
fn tell_status(server: &Core) {
    let mut told = String::new();
    while !server.state().is_stopping() {
        let status = status(server);
        if status != told {
            notify::status(&status);
            told = status;
        }
        thread::sleep(STATUS_EVERY);
    }
}

/// Begins to listen to those who look for services, if there is something to be found: the server, if
/// it `is_discoverable`, and share doors in any case.
fn open_discovery(
    is_discoverable: bool,
    listen: Option<&str>,
    doors: &[Spec],
) -> Result<Option<Answering>, Failure> {
    let mut shares = doors.iter().filter(|spec| spec.kind == Kind::Share).peekable();
    if !is_discoverable && shares.peek().is_none() {
        return match listen {
            None => Ok(None),
            Some(_) => {
                let text = "with --discovery-listen there must be something to be found";
                let hint = "Add --discoverable, or a share door.";
                Err(Failure::new(Code::Usage, text).hint(hint))
            }
        };
    }
    let reaches_others = is_discoverable || shares.any(|spec| spec.is_open);
    let ip = if reaches_others { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let usual = format!("{ip}:{PORT}");
    match Answering::open(listen.unwrap_or(&usual)) {
        Ok(answering) => Ok(Some(answering)),
        // Nobody has asked for this one; the door is of use without it.
        Err(error) if !is_discoverable && listen.is_none() => {
            tracing::warn!("the share door is not found by those who look for services: {error}");
            Ok(None)
        }
        Err(error) => {
            let hint = "Another server or program may answer there already: name another address \
                        with --discovery-listen, or leave out --discoverable.";
            Err(Failure::from(&error).hint(hint))
        }
    }
}

/// Begins to answer those who look for services.
fn announce(
    answering: Answering,
    discoverable: Option<Option<ServiceName>>,
    server: &Arc<Core>,
) -> Result<(), Failure> {
    let address = server.address();
    let is_palk_found = discoverable.is_some();
    let name = discoverable.flatten().unwrap_or_else(|| ServiceName::of_host(&host_name()));
    let share = server.doors().find(|door| door.kind() == Kind::Share).map(Door::address);
    tracing::info!("found as {name} by those who ask on {} (UDP)", answering.address());
    if is_palk_found && address.ip().is_loopback() && !answering.address().ip().is_loopback() {
        tracing::warn!(
            "only clients on this machine reach {address}, so no others are told of it; \
             --listen names an address that others reach"
        );
    }
    let (state, server) = (server.state(), server.clone());
    let discovery = move || {
        let announced = || Announced { address, fingerprint: server.fingerprint() };
        Discovery { name: name.clone(), palk: is_palk_found.then(announced), share }
    };
    let started = answering.start(discovery, state);
    started.map_err(|error| Failure::from(&error))
}

fn log_door(door: &Door) {
    let Spec { kind, user, folder, is_open, .. } = door.spec();
    let address = door.address();
    tracing::info!("door {kind} is open at {address}, for /{folder} of user {user}");
    if *is_open {
        tracing::warn!(
            "door {kind} has no passwords and no encryption: anybody who reaches {address} acts as {user}"
        );
    }
}

fn taken_over(epoch: u64) -> Failure {
    let text =
        format!("another server has taken over these nodes (epoch {epoch}); this one has ended");
    Failure::new(Code::NotAllowed, text)
        .hint("Use the other one. To go back to this one, stop the other first.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("100MB"), Ok(100_000_000));
        assert_eq!(parse_size("10M"), Ok(10_000_000));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("123"), Ok(123));
        assert_eq!(parse_size("none"), Ok(FILE_BYTES_MAX));
        assert!(parse_size("much").is_err());
        assert!(parse_size("9000TB").is_err());
        assert_eq!(parse_rate("20MB"), Ok(Rate(Some(20_000_000))));
        assert_eq!(parse_rate("none"), Ok(Rate(None)));
        assert!(parse_rate("1kB").is_err() && parse_rate("").is_err());
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let seconds = |seconds| Ok(Every(Some(Duration::from_secs(seconds))));
        assert_eq!(parse_every("7d"), seconds(604_800));
        assert_eq!(parse_every("90m"), seconds(5400));
        assert_eq!(parse_every("12h"), seconds(43_200));
        assert_eq!(parse_every("never"), Ok(Every(None)));
        assert_eq!(parse_every("0"), Ok(Every(None)));
        assert_eq!(parse_every("0d"), Ok(Every(None)));
        for wrong in ["", "d", "7", "7w", "-1d", "7dd", "1.5h"] {
            assert!(parse_every(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_quota("10GB"), Ok(DefaultQuota(Some(10_000_000_000))));
        assert_eq!(parse_quota("none"), Ok(DefaultQuota(None)));
        assert!(parse_quota("much").is_err());
    }
}
