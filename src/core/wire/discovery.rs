//! The datagrams by which a service is found: two questions and their answers, one datagram each.
//!
//! ```text
//!   SERVICE DISCOVERY                        NAME's File Sharing Service           the specified ones
//!   PALK DISCOVERY 1\r\n\r\n, padded         PALK 1\r\nNAME\r\nPORT\r\nFINGERPRINT\r\n\r\n
//! ```
//!
//! Anybody can ask, under any address. So an answer is short, and that to Palk's own question is never
//! longer than the question, which is padded for that: whoever asks under somebody else's address makes
//! them get no more bytes than the question had. (The specified question has 17 bytes and a fixed form;
//! there a limit of how many are answered has to do.)
//!
//! What comes in is any bytes of anybody. Each decoder takes a whole datagram and gives nothing for what
//! is not meant for it.

use std::fmt;
use std::str::FromStr;

use crate::core::types::Fingerprint;
use crate::core::wire::lines;

/// The UDP port where services are asked for.
pub const PORT: u16 = 30_000;

/// The TCP port of a service whose answer names none.
pub const SHARE_PORT: u16 = 30_001;

/// The specified question.
pub const QUESTION: &[u8] = b"SERVICE DISCOVERY";

/// How long Palk's own question is, in bytes.
pub const PALK_QUESTION_BYTES: usize = 192;

/// The longest answer that is taken, in bytes. Other services may have longer names than Palk's.
pub const ANSWER_BYTES_MAX: usize = 512;

/// The longest name of a service of Palk, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

const PALK_QUESTION: &[u8] = b"PALK DISCOVERY 1\r\n\r\n";
const PALK_ANSWER: &str = "PALK 1";
const SERVICE: &str = "File Sharing Service";
const PADDING: u8 = b' ';

/// The longest answer of Palk: four lines and the empty one.
const PALK_ANSWER_BYTES_MAX: usize = PALK_ANSWER.len() + NAME_BYTES_MAX + 5 + 64 + 5 * 2;

const _: () = assert!(PALK_ANSWER_BYTES_MAX <= PALK_QUESTION_BYTES);
const _: () = assert!(NAME_BYTES_MAX + "'s ".len() + SERVICE.len() <= PALK_QUESTION_BYTES);
const _: () = assert!(PALK_QUESTION_BYTES <= ANSWER_BYTES_MAX);

/// What a service is called: 1 to [`NAME_BYTES_MAX`] bytes that can be printed on one line as they are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServiceName(String);

impl ServiceName {
    /// The name of a service that nobody has named: that of its host, as far as it can be one.
    pub fn of_host(host: &str) -> ServiceName {
        let mut name = String::new();
        for c in crate::core::path::printable(host).trim().chars() {
            if name.len() + c.len_utf8() > NAME_BYTES_MAX {
                break;
            }
            name.push(c);
        }
        name.trim_end().parse().unwrap_or_else(|_| ServiceName("Palk".to_owned()))
    }
}

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(format!("a service's name has 1 to {NAME_BYTES_MAX} bytes"));
        }
        if text.trim() != text || crate::core::path::printable(text) != text {
            return Err("a service's name has no control characters, and blanks only inside".into());
        }
        Ok(ServiceName(text.to_owned()))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Which services there are, as specified.
    Specified,
    /// Which servers of Palk there are, and how each is recognised.
    Palk,
}

impl Question {
    /// The datagram.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Question::Specified => QUESTION.to_vec(),
            Question::Palk => {
                let mut datagram = PALK_QUESTION.to_vec();
                datagram.resize(PALK_QUESTION_BYTES, PADDING);
                datagram
            }
        }
    }

    /// Understands a datagram; nothing if it asks nothing. Line ends, blanks and zeros after the
    /// specified question are overlooked: programs that send a line, or all of a buffer, mean the same.
    pub fn decode(datagram: &[u8]) -> Option<Question> {
        if datagram.len() >= PALK_QUESTION_BYTES && datagram.starts_with(PALK_QUESTION) {
            return Some(Question::Palk);
        }
        (trimmed(datagram) == QUESTION).then_some(Question::Specified)
    }
}

/// What a service answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To the specified question: all of its text, as it came.
    Specified {
        /// `NAME's File Sharing Service`.
        service: String,
    },
    /// To Palk's.
    Palk {
        /// The name of the service.
        name: ServiceName,
        /// The TCP port of the server.
        port: u16,
        /// What the server says that it is recognised by. Nobody has vouched for it.
        fingerprint: Fingerprint,
    },
}

impl Answer {
    /// A service's answer to the specified question.
    pub fn specified(name: &ServiceName) -> Answer {
        Answer::Specified { service: service_of(name) }
    }

    /// The text that the specified answer has, or would have.
    pub fn service(&self) -> String {
        match self {
            Answer::Specified { service } => service.clone(),
            Answer::Palk { name, .. } => service_of(name),
        }
    }

    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Answer::Specified { service } => service.as_bytes().to_vec(),
            Answer::Palk { name, port, fingerprint } => {
                let (port, fingerprint) = (port.to_string(), fingerprint.to_string());
                lines::encode(&[PALK_ANSWER, &name.0, &port, &fingerprint])
            }
        }
    }

    /// Understands a datagram; nothing if it is no answer. What is taken has been checked for its form
    /// only, and must be escaped before it is printed.
    pub fn decode(datagram: &[u8]) -> Option<Answer> {
        if datagram.len() > ANSWER_BYTES_MAX {
            return None;
        }
        if let Ok(Some((message, used))) = lines::decode(datagram, ANSWER_BYTES_MAX)
            && message.first().is_some_and(|line| line == PALK_ANSWER)
        {
            return if used == datagram.len() { palk(&message) } else { None };
        }
        let service = std::str::from_utf8(trimmed(datagram)).ok()?;
        let is_one = service.ends_with(SERVICE) && service.len() > SERVICE.len();
        is_one.then(|| Answer::Specified { service: service.to_owned() })
    }
}

fn palk(message: &[String]) -> Option<Answer> {
    let [_, name, port, fingerprint] = message else { return None };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(Answer::Palk { name: name.parse().ok()?, port, fingerprint: fingerprint.parse().ok()? })
}

fn service_of(name: &ServiceName) -> String {
    format!("{name}'s {SERVICE}")
}

/// Without what some programs send behind a text.
fn trimmed(datagram: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let kept = datagram.iter().rposition(|byte| !is_end(byte)).map_or(0, |at| at + 1);
    &datagram[..kept]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        text.parse().unwrap()
    }

    #[test]
    fn spec_3_the_question_and_the_answer_are_the_specified_bytes() {
        assert_eq!(Question::Specified.encode(), b"SERVICE DISCOVERY");
        let answer = Answer::specified(&name("Ann")).encode();
        assert_eq!(answer, b"Ann's File Sharing Service");
        assert_eq!(Question::decode(b"SERVICE DISCOVERY"), Some(Question::Specified));
        assert_eq!(Question::decode(b"SERVICE DISCOVERY\r\n\0\0"), Some(Question::Specified));
        let expected = Answer::Specified { service: "Ann's File Sharing Service".into() };
        assert_eq!(Answer::decode(b"Ann's File Sharing Service"), Some(expected.clone()));
        assert_eq!(Answer::decode(b"Ann's File Sharing Service\0"), Some(expected));
    }

    #[test]
    fn palks_question_and_answer_mean_the_same_after_the_way() {
        let fingerprint = Fingerprint([0xab; 32]);
        let question = Question::Palk.encode();
        assert_eq!(Question::decode(&question), Some(Question::Palk));
        let longest = name(&"n".repeat(NAME_BYTES_MAX));
        for name in [name("Ann's"), name("Büro 3"), longest] {
            let answer = Answer::Palk { name, port: 65_535, fingerprint };
            let datagram = answer.encode();
            assert!(datagram.len() <= question.len(), "no amplifier");
            assert_eq!(Answer::decode(&datagram), Some(answer));
        }
    }

    #[test]
    fn a_short_question_of_palk_gets_no_answer() {
        let question = Question::Palk.encode();
        assert_eq!(Question::decode(&question[..question.len() - 1]), None);
        assert_eq!(Question::decode(PALK_QUESTION), None);
    }

    #[test]
    fn what_is_no_question_and_no_answer_is_nothing() {
        let garbage = [
            &b""[..],
            b"SERVICE",
            b"service discovery",
            b"SERVICE DISCOVERY NOW",
            b" SERVICE DISCOVERY",
            b"File Sharing Service",
            b"\xff's File Sharing Service",
            b"PALK 1\r\nAnn\r\n0\r\n\r\n",
            b"PALK 1\r\nAnn\r\n17777\r\nabc\r\n\r\n",
        ];
        for datagram in garbage {
            assert_eq!(Question::decode(datagram), None, "{}", datagram.escape_ascii());
            assert_eq!(Answer::decode(datagram), None, "{}", datagram.escape_ascii());
        }
        let print = "0".repeat(64);
        for (name, port, end) in
            [("", "1", ""), ("a", "0", ""), ("a", "65536", ""), ("a", "1", "x")]
        {
            let text = format!("PALK 1\r\n{name}\r\n{port}\r\n{print}\r\n\r\n{end}");
            assert_eq!(Answer::decode(text.as_bytes()), None, "{text:?}");
        }
        let long = format!("{}'s File Sharing Service", "x".repeat(ANSWER_BYTES_MAX));
        assert_eq!(Answer::decode(long.as_bytes()), None);
    }

    #[test]
    fn a_name_is_one_line_of_its_own() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for wrong in ["", " a", "a\n", "a\r\nb", "\u{202e}a", &long] {
            assert!(wrong.parse::<ServiceName>().is_err(), "{wrong:?}");
        }
        assert_eq!(ServiceName::of_host("nas.local").to_string(), "nas.local");
        assert_eq!(ServiceName::of_host("").to_string(), "Palk");
        let host = "é".repeat(100);
        assert_eq!(ServiceName::of_host(&host).to_string(), "é".repeat(32));
    }
}
