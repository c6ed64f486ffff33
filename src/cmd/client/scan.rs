//! `palk client scan`: which servers and services there are in the network, and the server that is
//! meant where `--server scan` is given in place of an address.
//!
//! Anybody in the network can answer. So nothing follows from an answer but an address to try: the
//! server there is recognised by the same rules as one whose address was typed (`identity.rs`), and
//! where there are several, Palk does not choose.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::advice;
use super::settings::{Common, named_server};
use crate::cmd::env::{Asked, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::parse_time;
use crate::core::error::Code;
use crate::core::path::printable;
use crate::core::remote::discovery::{self, Service};
use crate::core::wire::discovery::PORT;

/// What stands for "look for it" in place of a server's address. A host of this name is
/// `scan:PORT`.
const WORD: &str = "scan";
/// Names where to ask, for everything that looks for servers.
const ASK_VARIABLE: &str = "PALK_SCAN_ASK";
const TIME: Duration = Duration::from_secs(2);
const TIME_MAX: Duration = Duration::from_secs(600);

/// Look for servers and services in the network
#[derive(Args, Debug)]
pub(super) struct Scan {
    /// How long to collect answers: 2s, 500ms
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_timeout)]
    timeout: Duration,

    /// Ask there (UDP, port 30000 if none is named) instead of the whole network and this machine; may
    /// be repeated, and separated by commas
    #[arg(long, value_name = "HOST:PORT", env = ASK_VARIABLE, value_delimiter = ',')]
    ask: Vec<String>,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = match text.strip_suffix("ms") {
        Some(count) => count.parse().ok().map(Duration::from_millis),
        None => parse_time(text),
    };
    let usable = time.filter(|time| !time.is_zero() && *time <= TIME_MAX);
    usable.ok_or_else(|| "a number and ms, s or m (500ms, 2s), at most 10m".to_owned())
}

impl Scan {
    pub(super) fn run(self, env: &mut Env) -> Result<(), Stop> {
        let services = search(&self.ask, self.timeout, env)?;
        if !env.manner().json {
            return tell(&services, env);
        }
        for one in &services {
            env.json("item", object(one))?;
        }
        if services.is_empty() {
            return Err(Failure::new(Code::Unreachable, NOTHING).hint(NOTHING_HINT).into());
        }
        env.json("result", json!({"code": 0, "found": services.len()}))
    }
}

const NOTHING: &str = "No service found";
const NOTHING_HINT: &str = "A server is found if it runs with --discoverable, in the same network. \
                            Or name it:  --server HOST:PORT";

/// Looks for services as the session does, and tells of them.
///
/// # Errors
/// [`Code::Unreachable`] if there are none, told already; those of asking.
pub(super) fn show(env: &mut Env) -> Result<(), Stop> {
    let services = search(&asked(env), TIME, env)?;
    tell(&services, env)
}

/// Is the server to be looked for?
///
/// # Errors
/// Those of reading the configuration.
pub(crate) fn is_wanted(common: &Common, env: &Env) -> Result<bool, Failure> {
    Ok(named_server(common, env)?.as_deref() == Some(WORD))
}

/// Puts the address of the only server that is found in the place of `--server scan`, however that
/// was said; anything else stays as it is.
///
/// # Errors
/// [`Code::Unreachable`] if none is found, [`Code::Usage`] if there are several and nobody can be
/// asked which.
pub(crate) fn settle(common: Common, env: &mut Env) -> Result<Common, Stop> {
    if !is_wanted(&common, env)? {
        return Ok(common);
    }
    let found = search(&asked(env), TIME, env)?;
    let others = found.iter().filter(|one| !one.is_palk()).count();
    let servers: Vec<Service> = found.into_iter().filter(Service::is_palk).collect();
    let server = match servers.as_slice() {
        [] if others > 0 => {
            let text = "no server of Palk was found, only other services";
            return Err(Failure::new(Code::Unreachable, text).hint(NOTHING_HINT).into());
        }
        [] => return Err(Failure::new(Code::Unreachable, NOTHING).hint(NOTHING_HINT).into()),
        [only] => only,
        several if env.can_ask() => choose(several, env)?,
        several => {
            let all: Vec<String> = several.iter().map(named).collect();
            let text = format!("{} servers were found: {}", several.len(), all.join("; "));
            let hint = format!("Name one of them:  --server {}", several[0].address);
            return Err(Failure::new(Code::Usage, text).hint(hint).into());
        }
    };
    env.note(&format!("Using {}", printable(&named(server))));
    Ok(Common { server: Some(server.address.to_string()), ..common })
}

/// Where to ask if no option says so.
fn asked(env: &Env) -> Vec<String> {
    let named = env.variable(ASK_VARIABLE).unwrap_or_default();
    let named = named.to_string_lossy();
    named.split(',').filter(|address| !address.is_empty()).map(str::to_owned).collect()
}

fn search(ask: &[String], time: Duration, env: &mut Env) -> Result<Vec<Service>, Stop> {
    let plain = |error| advice::plain(&error);
    let asked = match ask {
        [] => discovery::everybody(),
        named => {
            let named: Vec<String> = named.iter().map(|address| with_port(address)).collect();
            discovery::named(&named).map_err(plain)?
        }
    };
    env.note(&format!("Looking for services for {} s ...", time.as_secs_f64()));
    Ok(discovery::scan(&asked, time).map_err(plain)?)
}

fn with_port(address: &str) -> String {
    if address.contains(':') { address.to_owned() } else { format!("{address}:{PORT}") }
}

fn tell(services: &[Service], env: &mut Env) -> Result<(), Stop> {
    for one in services {
        let (ip, port) = (one.address.ip(), one.address.port());
        env.data(&format!("{} found at {ip} {port}", printable(&one.service)))?;
        if let Some(fingerprint) = one.fingerprint {
            env.note(&format!(
                "  palk client --server {}   fingerprint {fingerprint}",
                one.address
            ));
        }
    }
    if services.is_empty() {
        env.data(NOTHING)?;
        env.note(&format!("  {NOTHING_HINT}"));
        return Err(Stop::Told(Code::Unreachable));
    }
    Ok(())
}

fn object(one: &Service) -> serde_json::Value {
    let mut object = json!({"service": one.service, "address": one.address.ip().to_string(),
                            "port": one.address.port(), "palk": one.is_palk()});
    if let Some(fingerprint) = one.fingerprint {
        object["fingerprint"] = json!(fingerprint.to_string());
    }
    object
}

/// A server in a list of several.
fn named(server: &Service) -> String {
    let mut text = format!("{} at {}", server.service, server.address);
    if let Some(fingerprint) = server.fingerprint {
        text.push_str(&format!(", fingerprint {fingerprint}"));
    }
    text
}

/// Has the user choose one of several.
fn choose<'a>(several: &'a [Service], env: &mut Env) -> Result<&'a Service, Stop> {
    let mut question = String::from("Several servers were found:\n");
    for (number, server) in (1..).zip(several) {
        question.push_str(&format!("  {number}  {}\n", printable(&named(server))));
    }
    question.push_str(&format!("Which one? (1 to {}): ", several.len()));
    let answer = env.ask(&question, Asked::Answer)?;
    let number: Option<usize> = answer.trim().parse().ok();
    let chosen = number.and_then(|number| several.get(number.checked_sub(1)?));
    Ok(chosen.ok_or_else(|| {
        let text = format!("{:?} is not one of them", answer.trim());
        Failure::new(Code::Usage, text).hint("Nothing was sent. Choose by its number.")
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::Fingerprint;

    fn server(name: &str, address: &str, palk: bool) -> Service {
        Service {
            service: format!("{name}'s File Sharing Service"),
            address: address.parse().unwrap(),
            fingerprint: palk.then_some(Fingerprint([7; 32])),
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse_timeout("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_timeout("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "2", "0s", "0ms", "-1s", "1d", "ms"] {
            assert!(parse_timeout(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spec_3_a_service_is_told_with_its_address_and_port() {
        let (mut env, screen) = Env::fake(&[], "");
        let services =
            [server("Ann", "10.0.0.2:30001", false), server("B\x1b[2Job", "127.0.0.1:17777", true)];
        tell(&services, &mut env).unwrap();
        assert_eq!(
            screen.out(),
            "Ann's File Sharing Service found at 10.0.0.2 30001\n\
             B\\u{1b}[2Job's File Sharing Service found at 127.0.0.1 17777\n"
        );
        assert!(screen.err().contains("--server 127.0.0.1:17777   fingerprint 0707"));
    }

    #[test]
    fn spec_3_no_service_found_is_said_and_is_status_6() {
        let (mut env, screen) = Env::fake(&[], "");
        let Err(Stop::Told(code)) = tell(&[], &mut env) else { panic!() };
        assert_eq!((screen.out().as_str(), code.exit_status()), ("No service found\n", 6));
    }

    #[test]
    fn one_of_several_is_chosen_by_its_number() {
        let several =
            [server("Ann", "10.0.0.2:17777", true), server("Bob", "10.0.0.3:17777", true)];
        let (mut env, screen) = Env::fake(&[], "2\n0\nx\n3\n");
        assert_eq!(choose(&several, &mut env).unwrap(), &several[1]);
        assert!(screen.err().contains("1  Ann's File Sharing Service at 10.0.0.2:17777, "));
        for _ in 0..3 {
            let Err(Stop::Failed(failure)) = choose(&several, &mut env) else { panic!() };
            assert_eq!(failure.code, Code::Usage);
        }
    }

    #[test]
    fn a_named_server_is_left_as_it_is() {
        for server in [None, Some("scan:17777"), Some("10.0.0.1")] {
            let server = server.map(str::to_owned);
            let common = Common { server: server.clone(), ..Common::default() };
            let (mut env, screen) = Env::fake(&[], "");
            assert_eq!(settle(common, &mut env).unwrap().server, server);
            assert_eq!(screen.err(), "");
        }
    }
}
