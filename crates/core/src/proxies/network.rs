//! An address, or a network of addresses, as APR's `apr_ipsubnet_create` reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that equal `address` in the bits of `mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// IPv4.
    V4 { address: u32, mask: u32 },
    /// IPv6.
    V6 { address: u128, mask: u128 },
}

impl Network {
    /// Reads `address`, `address/bits`, `address/mask` (IPv4), or the first octets of an IPv4
    /// network. Upper-case digits and IPv4 addresses in IPv6 form are rejected, as the original
    /// does.
    pub(crate) fn parse(item: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(item).ok()?;
        let plain = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.' | b':' | b'/');
        if !text.bytes().all(plain) {
            return None;
        }
        let Some((address, mask)) = text.split_once('/') else {
            return match text.parse() {
                Ok(IpAddr::V4(address)) => Some(Self::V4 { address: address.to_bits(), mask: u32::MAX }),
                Ok(IpAddr::V6(address)) => Self::v6(address, u128::MAX),
                Err(_) => Self::octets(text),
            };
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let mask = match bits(mask, 32) {
                    Some(bits) => u32::MAX << (32 - bits),
                    None => mask.parse::<Ipv4Addr>().ok()?.to_bits(),
                };
                Some(Self::V4 { address: address.to_bits() & mask, mask })
            }
            IpAddr::V6(address) => Self::v6(address, u128::MAX << (128 - bits(mask, 128)?)),
        }
    }

    /// Returns whether `address` is one of them.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::V4 { address, mask }, IpAddr::V4(other)) => other.to_bits() & mask == *address,
            (Self::V6 { address, mask }, IpAddr::V6(other)) => other.to_bits() & mask == *address,
            _ => false,
        }
    }

    /// Returns whether it has more addresses than any network of proxies: those of private use are
    /// `10.0.0.0/8` and `fc00::/7`.
    pub(crate) const fn is_wide(&self) -> bool {
        match self {
            Self::V4 { mask, .. } => mask.count_ones() < 8,
            Self::V6 { mask, .. } => mask.count_ones() < 7,
        }
    }

    fn v6(address: Ipv6Addr, mask: u128) -> Option<Self> {
        address.to_ipv4_mapped().is_none().then_some(Self::V6 { address: address.to_bits() & mask, mask })
    }

    /// Parses the network of all addresses that begin with these octets; a dot may follow the last
    /// one.
    fn octets(text: &str) -> Option<Self> {
        let (mut address, mut mask, mut count) = (0, 0, 0);
        for octet in text.strip_suffix('.').unwrap_or(text).split('.') {
            let octet: u8 = octet.bytes().all(|byte| byte.is_ascii_digit()).then(|| octet.parse().ok())??;
            count += 1;
            if count > 4 {
                return None;
            }
            address |= u32::from(octet) << (32 - 8 * count);
            mask |= 0xFF << (32 - 8 * count);
        }
        Some(Self::V4 { address, mask })
    }
}

/// Returns the length of a prefix. 0 is none, so that nobody trusts the whole world by a slip of
/// the pen.
fn bits(text: &str, most: u32) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|bits| digits && (1..=most).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contains(network: &str, address: &str) -> bool {
        let network = Network::parse(network.as_bytes()).unwrap_or_else(|| panic!("{network}"));
        network.contains(address.parse().unwrap())
    }

    #[test]
    fn networks_contain_their_addresses() {
        for (network, inside, outside) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("10.1", "10.1.255.1", "10.2.0.1"),
            ("10.1.", "10.1.0.0", "10.0.0.1"),
            ("10", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0/8", "10.9.9.9", "11.0.0.0"),
            ("10.9.9.9/8", "10.0.0.1", "9.0.0.1"),
            ("192.168.0.0/255.255.0.0", "192.168.7.7", "192.169.0.0"),
            ("1.2.3.4/32", "1.2.3.4", "1.2.3.5"),
            ("0.0.0.0/0.0.0.0", "8.8.8.8", "::1"),
            ("::1", "::1", "::2"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("fe80::1/128", "fe80::1", "fe80::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
        ] {
            assert!(contains(network, inside), "{inside} in {network}");
            assert!(!contains(network, outside), "{outside} in {network}");
        }
    }

    #[test]
    fn other_items_are_refused() {
        for item in [
            "",
            "localhost",
            "FE80::1",
            "::ffff:10.0.0.1",
            "10.0.0.1,10.0.0.2",
            "10.0.0.256",
            "10.0.0.0/33",
            "10.0.0.0/0",
            "10.0.0.0/",
            "10.0.0.0/x",
            "10.1/16",
            "1.2.3.4.5",
            "fd00::/129",
            "fd00::/255.0.0.0",
            "10..1",
            "/8",
            ".",
            "+1",
            "1.2.3.4/8/8",
        ] {
            assert_eq!(Network::parse(item.as_bytes()), None, "{item}");
        }
    }

    proptest! {
        #[test]
        fn any_item_is_read(item in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = Network::parse(&item);
        }

        #[test]
        fn a_network_contains_the_address_it_was_made_of(bits in any::<u32>(), length in 1_u32..=32) {
            let address = Ipv4Addr::from_bits(bits);
            let network = Network::parse(format!("{address}/{length}").as_bytes()).unwrap();
            prop_assert!(network.contains(IpAddr::V4(address)));
        }
    }
}
