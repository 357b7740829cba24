//! The arguments of the script: one validated form each, which an admission policy can pin.

use std::{fmt, net::IpAddr, time::Duration};

use thiserror::Error;

macro_rules! v4 {
    () => {
        r"((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
    };
}
macro_rules! v6 {
    () => {
        "[0-9a-f:]{2,39}"
    };
}
macro_rules! port {
    () => {
        "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
    };
}
macro_rules! seconds {
    () => {
        "([2-9]|[12][0-9]|30)"
    };
}
macro_rules! label {
    () => {
        "[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
    };
}
macro_rules! target {
    () => {
        concat!(
            r"((tcp|dns):(",
            v4!(),
            r"|\[",
            v6!(),
            r"\]):",
            port!(),
            "|name:",
            label!(),
            r"(\.",
            label!(),
            r")*\.?):",
            seconds!()
        )
    };
}
macro_rules! wave {
    () => {
        "wave:([1-9]|[1-5][0-9]|6[0-4])"
    };
}

/// Every [`Target`] as text matches this expression in full (RE2 syntax, anchored).
pub const TARGET_PATTERN: &str = concat!("^", target!(), "$");

/// The first argument after the script's name: how many connections at a time.
pub const WAVE_PATTERN: &str = concat!("^", wave!(), "$");

/// The second argument of the shell-less form, `nc -zvnw2 IP PORT`.
pub const NC_FLAGS_PATTERN: &str = concat!("^-zvnw", seconds!(), "$");

/// The third argument of the shell-less form.
pub const NC_ADDRESS_PATTERN: &str = concat!("^(", v4!(), "|", v6!(), ")$");

/// The fourth argument of the shell-less form.
pub const NC_PORT_PATTERN: &str = concat!("^", port!(), "$");

/// Time limits of one try, in seconds. Below 2 s an ICMP rejection, which blocking connects report only after the
/// first retransmission (1 s), would look like silence.
pub const SECONDS: std::ops::RangeInclusive<u8> = 2..=30;

/// Why something is not a target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidTarget {
    /// Not one host's address.
    #[error("`{0}` is not the address of one other host")]
    Address(IpAddr),
    /// Port 0.
    #[error("port 0 cannot be probed")]
    Port,
    /// Not a host name.
    #[error("`{0}` is not a host name")]
    Name(String),
    /// Outside [`SECONDS`].
    #[error("a time limit of {0:?} is not within 2 s and 30 s")]
    Timeout(Duration),
}

/// One thing to try from a pod. Its text is the script's argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    what: What,
    seconds: u8,
}

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum What {
    Tcp(IpAddr, u16),
    Dns(IpAddr, u16),
    Name(String),
}

impl Target {
    /// A TCP connection to one address and port.
    ///
    /// # Errors
    /// The address is not that of one other host, the port is 0, or the limit is outside [`SECONDS`].
    pub fn tcp(address: IpAddr, port: u16, timeout: Duration) -> Result<Self, InvalidTarget> {
        Ok(Self { what: What::Tcp(host(address)?, nonzero(port)?), seconds: whole_seconds(timeout)? })
    }

    /// A question to a DNS server over UDP, open only where an answer comes (any answer, a refusal too).
    ///
    /// # Errors
    /// As [`Target::tcp`].
    pub fn dns(server: IpAddr, port: u16, timeout: Duration) -> Result<Self, InvalidTarget> {
        Ok(Self { what: What::Dns(host(server)?, nonzero(port)?), seconds: whole_seconds(timeout)? })
    }

    /// The addresses of a name, asked of the pod's own resolver.
    ///
    /// # Errors
    /// It is no host name (RFC 1123 and `_`, at most 253 bytes), or the limit is outside [`SECONDS`].
    pub fn name(name: &str, timeout: Duration) -> Result<Self, InvalidTarget> {
        let lower = name.to_ascii_lowercase();
        if !is_host_name(&lower) {
            return Err(InvalidTarget::Name(name.chars().take(260).collect()));
        }
        Ok(Self { what: What::Name(lower), seconds: whole_seconds(timeout)? })
    }

    /// The time limit of this try.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    pub(super) fn what(&self) -> &What {
        &self.what
    }

    pub(super) fn seconds(&self) -> u8 {
        self.seconds
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Tcp(address, port) => write!(f, "tcp:{}:{port}", Bracketed(*address))?,
            What::Dns(address, port) => write!(f, "dns:{}:{port}", Bracketed(*address))?,
            What::Name(name) => write!(f, "name:{name}")?,
        }
        write!(f, ":{}", self.seconds)
    }
}

/// How many connections one exec makes at a time, 1 to 64: an exec counts towards the pod's own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wave(u8);

impl Wave {
    /// The number, or the nearest allowed one.
    #[must_use]
    pub fn new(count: u8) -> Self {
        Self(count.clamp(1, 64))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> usize {
        self.0.into()
    }
}

impl Default for Wave {
    fn default() -> Self {
        Self(8)
    }
}

impl fmt::Display for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wave:{}", self.0)
    }
}

struct Bracketed(IpAddr);

impl fmt::Display for Bracketed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "[{address}]"),
        }
    }
}

fn host(address: IpAddr) -> Result<IpAddr, InvalidTarget> {
    let canonical = address.to_canonical();
    let one = match canonical {
        IpAddr::V4(a) => !(a.is_unspecified() || a.is_loopback() || a.is_multicast() || a.is_broadcast()),
        // A link-local address means nothing without its interface.
        IpAddr::V6(a) => !(a.is_unspecified() || a.is_loopback() || a.is_multicast() || a.is_unicast_link_local()),
    };
    if one { Ok(canonical) } else { Err(InvalidTarget::Address(address)) }
}

fn nonzero(port: u16) -> Result<u16, InvalidTarget> {
    if port == 0 { Err(InvalidTarget::Port) } else { Ok(port) }
}

fn whole_seconds(timeout: Duration) -> Result<u8, InvalidTarget> {
    let up = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0));
    u8::try_from(up).ok().filter(|s| SECONDS.contains(s)).ok_or(InvalidTarget::Timeout(timeout))
}

fn is_host_name(name: &str) -> bool {
    let labels = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.parse::<IpAddr>().is_err() && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    let bytes = label.as_bytes();
    label.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_' || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Duration = Duration::from_secs(2);

    #[test]
    fn text_is_the_documented_argument() {
        let v4 = Target::tcp("10.0.3.7".parse().unwrap(), 8080, TWO).unwrap();
        let v6 = Target::tcp("2001:DB8::1".parse().unwrap(), 443, TWO).unwrap();
        let dns = Target::dns("10.96.0.10".parse().unwrap(), 53, Duration::from_millis(2001)).unwrap();
        let name = Target::name("PG01.planapulse.com", TWO).unwrap();
        assert_eq!(v4.to_string(), "tcp:10.0.3.7:8080:2");
        assert_eq!(v6.to_string(), "tcp:[2001:db8::1]:443:2");
        assert_eq!(dns.to_string(), "dns:10.96.0.10:53:3");
        assert_eq!(name.to_string(), "name:pg01.planapulse.com:2");
    }

    #[test]
    fn mapped_address_is_the_v4_address() {
        let target = Target::tcp("::ffff:10.0.3.7".parse().unwrap(), 80, TWO).unwrap();
        assert_eq!(target.to_string(), "tcp:10.0.3.7:80:2");
    }

    #[test]
    fn what_is_no_other_host_is_refused() {
        for address in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1", "fe80::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Target::tcp(address, 80, TWO), Err(InvalidTarget::Address(address)), "{address}");
            assert!(Target::dns(address, 53, TWO).is_err(), "{address}");
        }
        // NodeLocal DNS and the metadata service are link-local and are probed.
        assert!(Target::tcp("169.254.20.10".parse().unwrap(), 53, TWO).is_ok());
    }

    #[test]
    fn port_and_limit_are_bounded() {
        let a: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(Target::tcp(a, 0, TWO), Err(InvalidTarget::Port));
        for ms in [0, 1, 1000, 30_001, u64::MAX] {
            assert!(Target::tcp(a, 1, Duration::from_millis(ms)).is_err(), "{ms}");
        }
        for ms in [1001, 2000, 30_000] {
            assert!(Target::tcp(a, 65535, Duration::from_millis(ms)).is_ok(), "{ms}");
        }
    }

    #[test]
    fn names_that_could_be_an_option_or_shell_text_are_refused() {
        for name in ["", ".", "-n", "a-", "a..b", "a b", "a;b", "$(id)", "a\nb", "ä", "a/b", "10.0.0.1", "a:b"] {
            assert!(Target::name(name, TWO).is_err(), "{name:?}");
        }
        assert!(Target::name(&"a".repeat(64), TWO).is_err());
        assert!(Target::name(&["a"; 128].join("."), TWO).is_err());
        for name in ["a", "redis.redis", "kubernetes.default.svc.", "_x._tcp.a", "x--y"] {
            assert!(Target::name(name, TWO).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn wave_stays_within_its_bounds() {
        assert_eq!(
            [0, 1, 8, 64, 200].map(|n| Wave::new(n).to_string()),
            ["wave:1", "wave:1", "wave:8", "wave:64", "wave:64"]
        );
    }
}
