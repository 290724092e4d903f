//! This host's addresses, which a closed network must not reach.

use std::io::ErrorKind;

/// What tells this host's addresses.
const IPV4: &str = "/proc/self/net/fib_trie";
const IPV6: &str = "/proc/self/net/if_inet6";

/// This host's addresses at one moment, as the kernel tells them: good for telling whether they are others by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddresses([Vec<u8>; 2]);

impl HostAddresses {
    /// Those of this moment.
    pub fn now() -> std::io::Result<Self> {
        let ipv6 = match std::fs::read(IPV6) {
            // A host without IPv6 has no file of its addresses.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        Ok(Self([std::fs::read(IPV4)?, ipv6]))
    }
}
