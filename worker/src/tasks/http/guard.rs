//! Which addresses may be called. A job names the host, so that whoever submits jobs could reach
//! through the worker what only the worker's network can reach.
//!
//! A name is resolved once; every address that it has must be allowed, and the connection is made
//! to one of those very addresses: a second answer of the DNS changes nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::trouble::Trouble;

/// One entry of the list of hosts that may be called although their addresses are not public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Allow {
    /// This machine.
    Loopback,
    /// This name, whatever its address.
    Name(String),
    /// Every name below this one.
    Below(String),
    /// The addresses that share so many leading bits with this one.
    Net(IpAddr, u8),
}

impl FromStr for Allow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no host to allow; write `loopback`, a name, `*.name`, an address, or \
                 a network such as 10.1.0.0/16"
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let address = address.to_canonical();
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.unwrap_or(most);
            return (bits <= most)
                .then_some(Self::Net(address, bits))
                .ok_or_else(wrong);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if bits.is_some() || name.is_empty() || !name.chars().all(is_word) {
            return Err(wrong());
        }
        Ok(match below {
            true => Self::Below(format!(".{name}")),
            false if name == "loopback" => Self::Loopback,
            false => Self::Name(name),
        })
    }
}

impl Allow {
    fn has_name(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Below(end) => name.ends_with(end),
            Self::Loopback | Self::Net(..) => false,
        }
    }

    fn has_address(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Loopback, _) => address.is_loopback(),
            (Self::Net(IpAddr::V4(net), bits), IpAddr::V4(address)) => {
                let differ = net.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(*bits)
            }
            (Self::Net(IpAddr::V6(net), bits), IpAddr::V6(address)) => {
                let differ = net.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(*bits)
            }
            _ => false,
        }
    }
}

/// The list of what may be called beside public addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    pub(super) allow: Vec<Allow>,
}

impl Guard {
    /// The addresses of `host`, all of which may be called.
    ///
    /// # Errors
    /// When one of them may not, or there are none.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Trouble> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            self.check(host, address)?;
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let unknown = |source| Trouble::Unknown {
            host: host.to_owned(),
            source,
        };
        let found = tokio::net::lookup_host((host, port)).await;
        let found: Vec<SocketAddr> = found.map_err(unknown)?.collect();
        if !self.allows_name(host) {
            for address in &found {
                self.check(host, address.ip())?;
            }
        }
        Ok(found)
    }

    fn allows_name(&self, host: &str) -> bool {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        self.allow.iter().any(|allow| allow.has_name(&name))
    }

    fn check(&self, host: &str, address: IpAddr) -> Result<(), Trouble> {
        let address = address.to_canonical();
        let Some(kind) = not_public(address) else {
            return Ok(());
        };
        if self.allow.iter().any(|allow| allow.has_address(address)) {
            return Ok(());
        }
        tracing::warn!(host, %address, kind, "a job may not call this address");
        // Not the address of a name: where inner hosts are is nothing to tell a stranger.
        Err(Trouble::Refused {
            host: host.to_owned(),
            kind,
        })
    }
}

/// What kind of address it is, if not one that is reached through the public internet.
fn not_public(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => not_public_v4(address),
        IpAddr::V6(address) => not_public_v6(address),
    }
}

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [127, ..] => "a loopback address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        // 168.63.129.16 is Azure's, for its virtual machines.
        [169, 254, ..] | [168, 63, 129, 16] => "a link-local or metadata address",
        [100, 64..=127, ..] => "an address behind a carrier's NAT",
        [224..=239, ..] => "a multicast address",
        [0, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => {
            "a reserved address"
        }
        [198, 51, 100, _] | [203, 0, 113, _] | [240..=255, ..] => "a reserved address",
        _ => return None,
    })
}

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        not_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        // What a NAT64 or a 6to4 router makes an IPv4 address of again.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        // ISATAP does so with any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] if embedded(high, low).is_some() => {
            embedded(high, low)
        }
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local or metadata address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        // Teredo and other protocols' own, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("a reserved address"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str]) -> Guard {
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        Guard { allow }
    }

    #[test]
    fn only_public_addresses_are_public() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "168.63.129.16",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "2001:10::1",
            "fd00:ec2::254",
            "fc00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "3fff::1",
            "5f00::1",
            "2606:4700::5efe:a00:1",
            "2606:4700::200:5efe:7f00:1",
        ] {
            assert!(not_public(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.1",
            "2606:4700::1111",
            "2a00::1",
            "2001:200::1",
            "64:ff9b::101:101",
            "2002:101:101::1",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(not_public(text.parse().unwrap()), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_is_refused_for_its_addresses_however_it_is_written() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "::1"] {
            let refused = guard(&[]).resolve(host, 80).await.unwrap_err();
            assert!(
                matches!(refused, Trouble::Refused { .. }),
                "{host}: {refused:?}"
            );
            let found = guard(&["loopback"]).resolve(host, 80).await.unwrap();
            assert!(found.iter().all(|at| at.ip().is_loopback()), "{found:?}");
        }
        assert!(guard(&["LocalHost"]).resolve("localhost", 80).await.is_ok());
        assert!(
            guard(&["*.localhost"])
                .resolve("localhost", 80)
                .await
                .is_err()
        );
    }

    #[test]
    fn an_entry_allows_what_it_says_and_no_more() {
        let check = |allow: &str, address: &str| {
            guard(&[allow])
                .check("host", address.parse().unwrap())
                .is_ok()
        };
        assert!(check("10.1.0.0/16", "10.1.255.255") && !check("10.1.0.0/16", "10.2.0.0"));
        assert!(check("10.1.2.3", "::ffff:10.1.2.3") && !check("10.1.2.3", "10.1.2.4"));
        assert!(check("fd00::/8", "fd12::1") && !check("fd00::/8", "fe80::1"));
        assert!(check("0.0.0.0/0", "127.0.0.1") && !check("0.0.0.0/0", "::1"));
        assert!(check("loopback", "127.0.0.1") && !check("loopback", "10.0.0.1"));
        let named = guard(&["*.inner.example", "one.example"]);
        for (name, allowed) in [
            ("a.inner.example", true),
            ("A.B.Inner.Example.", true),
            ("inner.example", false),
            ("evilinner.example", false),
            ("one.example", true),
            ("two.one.example", false),
        ] {
            assert_eq!(named.allows_name(name), allowed, "{name}");
        }
    }

    #[test]
    fn an_entry_that_means_nothing_is_no_entry() {
        for text in [
            "",
            "*.",
            "10.0.0.0/33",
            "10.0.0.0/x",
            "name/8",
            "http://name",
            "a b",
            "*",
        ] {
            assert!(text.parse::<Allow>().is_err(), "{text}");
        }
    }
}
