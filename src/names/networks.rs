//! Networks of IP addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SettingError;
use super::text::shown;

/// A network of IP addresses, as `192.168.1.0/24` is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Several of them, with commas between.
    #[must_use]
    pub fn list(networks: &[Self]) -> String {
        networks.iter().map(Self::to_string).collect::<Vec<_>>().join(",")
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = SettingError;
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let parsed = || {
            let (address, prefix) = text.split_once('/')?;
            let (address, number): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
            let longest = if address.is_ipv4() { 32 } else { 128 };
            // `parse` alone would take "+8" and "08".
            (number <= longest && number.to_string() == prefix).then_some(Self { address, prefix: number })
        };
        parsed().ok_or_else(|| SettingError::Network(shown(text)))
    }
}

impl TryFrom<String> for Network {
    type Error = SettingError;
    fn try_from(text: String) -> Result<Self, SettingError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.7/32", "fd12:3456::/48", "::/0", "fe80::1/128"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/-1",
            "10.0.0.0/33",
            "10.0.0.0/8 ",
            " 10.0.0.0/8",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0/8,11.0.0.0/8",
            "10.0.0.0/8/8",
            "fd00::/129",
            "fe80::1%eth0/64",
            "[::]/0",
            "a/8",
            "10.0.0.0/8\n",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
        let two = ["10.0.0.0/8", "fd77::/64"].map(|text| text.parse().unwrap());
        assert_eq!(Network::list(&two), "10.0.0.0/8,fd77::/64");
        assert_eq!(Network::list(&[]), "");
    }
}
