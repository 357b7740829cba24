//! A name server's answers, without the sockets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What the lab's name servers know, by full name without the last dot, in lower case. `*` is for every name that is
/// not listed; without it those do not exist.
pub type Names = BTreeMap<String, Name>;

/// What there is to know of a name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Name {
    /// It has these addresses, of either family; without any it exists, but has no address.
    Addresses(Vec<IpAddr>),
    /// The server fails (SERVFAIL).
    Fails,
    /// The name does not exist.
    Unknown,
    /// No answer comes.
    Silent,
}

const HEADER: usize = 12;
/// The most that an answer over UDP has, in bytes.
pub(super) const DATAGRAM: usize = 512;
const INTERNET: u16 = 1;
const A: u16 = 1;
const AAAA: u16 = 28;

const NO_ERROR: u8 = 0;
const FORMAT_ERROR: u8 = 1;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;
const REFUSED: u8 = 5;

/// Answers a query; one that would be longer than `most` bytes is cut, and says so. Nothing where the name is silent,
/// or the query is none.
pub(super) fn answer(query: &[u8], names: &Names, most: usize) -> Option<Vec<u8>> {
    let header = query.get(..HEADER)?;
    let Some(question) = Question::read(query) else {
        return Some(reply(header, &[], FORMAT_ERROR, false, 0));
    };
    let asked = |rcode, cut, records| reply(header, question.bytes, rcode, cut, records);
    if question.class != INTERNET {
        // As other servers do with CHAOS; that they do it is how the probe sees that they live.
        return Some(asked(REFUSED, false, 0));
    }
    let addresses = match names.get(&question.name).or_else(|| names.get("*")).unwrap_or(&Name::Unknown) {
        Name::Silent => return None,
        Name::Fails => return Some(asked(SERVER_FAILURE, false, 0)),
        Name::Unknown => return Some(asked(NO_SUCH_NAME, false, 0)),
        Name::Addresses(addresses) => addresses,
    };
    let records: Vec<Vec<u8>> = addresses.iter().filter_map(|address| record(*address, question.kind)).collect();
    let length = HEADER + question.bytes.len() + records.iter().map(Vec::len).sum::<usize>();
    if length > most {
        return Some(asked(NO_ERROR, true, 0));
    }
    let mut whole = asked(NO_ERROR, false, u16::try_from(records.len()).ok()?);
    whole.extend(records.concat());
    Some(whole)
}

struct Question<'a> {
    name: String,
    kind: u16,
    class: u16,
    /// As it stood in the query.
    bytes: &'a [u8],
}

impl<'a> Question<'a> {
    fn read(query: &'a [u8]) -> Option<Self> {
        let mut labels = Vec::new();
        let mut at = HEADER;
        loop {
            let length = usize::from(*query.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            let label = query.get(at..at + length)?;
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
            at += length;
        }
        let number = |at: usize| Some(u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?));
        let (kind, class) = (number(at)?, number(at + 2)?);
        Some(Self { name: labels.join("."), kind, class, bytes: query.get(HEADER..at + 4)? })
    }
}

fn reply(header: &[u8], question: &[u8], rcode: u8, cut: bool, records: u16) -> Vec<u8> {
    let id = header.get(..2).unwrap_or_default();
    // The wish for recursion is repeated, as servers do.
    let recursion = header.get(2).unwrap_or(&0) & 1;
    let flags = [0x84 | u8::from(cut) << 1 | recursion, 0x80 | rcode];
    let counts = [[0, u8::from(!question.is_empty())], records.to_be_bytes(), [0, 0], [0, 0]].concat();
    [id, &flags, &counts, question].concat()
}

fn record(address: IpAddr, kind: u16) -> Option<Vec<u8>> {
    let (is, data) = match address {
        IpAddr::V4(address) => (A, address.octets().to_vec()),
        IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
    };
    // The name is that of the question; it may be kept for 5 s.
    let fixed = [&[0xc0, 12], &is.to_be_bytes()[..], &INTERNET.to_be_bytes(), &5_u32.to_be_bytes()].concat();
    let length = u16::try_from(data.len()).ok()?.to_be_bytes();
    (is == kind).then(|| [fixed, length.to_vec(), data].concat())
}
