//! Ports on which this machine is to listen, and from which the system takes some for outgoing
//! connections: a node that is stopped for a moment may find its port taken.

use std::fs;
use std::net::{TcpListener, ToSocketAddrs};
use std::ops::RangeInclusive;

use super::report::{Level, Report};
use crate::cmd::failure::Stop;

const RANGE_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED_FILE: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Is this an address of this machine? Then a socket can be bound to it.
pub(super) fn is_here(address: &str) -> bool {
    let Ok(mut addresses) = address.to_socket_addrs() else { return false };
    addresses.any(|address| TcpListener::bind((address.ip(), 0)).is_ok())
}

/// Looks at the ports of those addresses that are this machine's.
pub(super) fn check(addresses: &[String], report: &mut Report<'_>) -> Result<(), Stop> {
    let here = addresses.iter().filter(|address| is_here(address));
    let ports = here.filter_map(|address| address.rsplit_once(':')?.1.parse().ok());
    let ports: Vec<u16> = ports.collect();
    let Some(range) = fs::read_to_string(RANGE_FILE).ok().and_then(|text| range(&text)) else {
        return Ok(());
    };
    if ports.is_empty() {
        return Ok(());
    }
    let reserved = fs::read_to_string(RESERVED_FILE).unwrap_or_default();
    let reserved = reserved.trim();
    let at_risk = at_risk(&ports, &range, reserved);
    if at_risk.is_empty() {
        return report
            .ok("ports", format!("outgoing connections do not get the ports {}", list(&ports)));
    }
    let text = format!(
        "ports {} lie in the range {}-{}, from which outgoing connections get theirs: one may be taken \
         when its node or server starts again",
        list(&at_risk),
        range.start(),
        range.end()
    );
    let new = list(&at_risk);
    let wanted = if reserved.is_empty() { new } else { format!("{reserved},{new}") };
    let fix = format!(
        "sysctl -w net.ipv4.ip_local_reserved_ports={wanted}   and the same in /etc/sysctl.d"
    );
    report.found("ports", Level::Risk, text, fix)
}

/// The first and the last port, with a tab between them.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_whitespace().map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Some(first..=last),
        _ => None,
    }
}

/// The ports in the range that are not reserved: `8080,51131-51134`.
fn at_risk(ports: &[u16], range: &RangeInclusive<u16>, reserved: &str) -> Vec<u16> {
    let is_reserved = |port: u16| {
        reserved.split(',').any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let ends = (first.trim().parse::<u16>(), last.trim().parse::<u16>());
            matches!(ends, (Ok(first), Ok(last)) if (first..=last).contains(&port))
        })
    };
    ports.iter().copied().filter(|port| range.contains(port) && !is_reserved(*port)).collect()
}

/// `17777,51131-51134`, as the system wants it.
fn list(ports: &[u16]) -> String {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    let runs = ports.chunk_by(|port, next| port + 1 == *next);
    let shown = runs.map(|run| match run {
        [only] => only.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_at_risk_in_the_range_unless_it_is_reserved() {
        let range = range("32768\t60999\n").unwrap();
        assert_eq!(range, 32_768..=60_999);
        let ports = [17_777, 51_131, 51_132, 61_000];
        assert_eq!(at_risk(&ports, &range, ""), [51_131, 51_132]);
        assert_eq!(at_risk(&ports, &range, "8080,51131-51134"), [0; 0]);
        assert_eq!(at_risk(&ports, &range, "51132"), [51_131]);
        assert_eq!(super::range("many"), None);
        assert_eq!(list(&[51_132, 17_777, 51_131]), "17777,51131-51132");
    }

    #[test]
    fn an_address_of_another_machine_is_not_here() {
        assert!(is_here("127.0.0.1:1") && !is_here("198.51.100.1:1") && !is_here("nonsense"));
    }
}
