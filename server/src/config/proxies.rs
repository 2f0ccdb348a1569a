//! Networks: which proxies are believed when they say for whom they ask.

use std::net::IpAddr;

/// A list of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<(IpAddr, u32)>);

impl Proxies {
    /// Addresses, or networks as `address/bits`, separated by commas.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect::<Option<_>>().map(Self)
    }

    /// Whether `address` is in one of them.
    pub fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, bits)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= *bits,
            (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= *bits,
            _ => false,
        })
    }
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
    Some((address, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_includes_what_begins_as_it_does() {
        let proxies = Proxies::parse("10.0.0.0/8, 192.168.1.1,fd00::/8").unwrap();
        let include = |address: &str| proxies.include(address.parse().unwrap());
        assert!(include("10.255.0.1") && include("192.168.1.1") && include("fdff::1"));
        assert!(!include("11.0.0.1") && !include("192.168.1.2") && !include("fe00::1"));
        assert!(Proxies::parse("0.0.0.0/0").unwrap().include("1.2.3.4".parse().unwrap()));
        for wrong in ["10.0.0.0/33", "x", "10.0.0.0/", "1.2.3"] {
            assert_eq!(Proxies::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Proxies::parse(" "), Some(Proxies::default()));
    }
}
