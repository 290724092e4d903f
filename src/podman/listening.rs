//! What a container's programs listen on, by what the kernel says of the network namespace of its first process (proc_pid_net(5)).
//! The agent itself doesn't see other users' processes: this runs in a unit beside it.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The state of a socket that listens, in these tables.
const LISTENS: &str = "0A";
/// How much of a table is read, and how many sockets are told.
const TABLE: u64 = 1 << 20;
const MOST: usize = 64;

/// A socket that takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listening {
    /// Where.
    pub address: IpAddr,
    /// On which port.
    pub port: u16,
}

impl Listening {
    /// Whether nobody outside the container reaches it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(address) => address.to_ipv4_mapped().map_or(address.is_loopback(), |v4| v4.is_loopback()),
        }
    }
}

/// Writes down what listens in the network namespace of a process, as JSON.
///
/// # Errors
/// There is no such process, or nothing can be written.
pub fn tell_listening(pid: u32, into: &Path) -> std::io::Result<()> {
    let mut all = Vec::new();
    for (table, is_needed) in [("tcp", true), ("tcp6", false)] {
        let mut text = String::new();
        match std::fs::File::open(format!("/proc/{pid}/net/{table}")) {
            Ok(file) => _ = file.take(TABLE).read_to_string(&mut text)?,
            // A kernel without IPv6.
            Err(_) if !is_needed => {}
            Err(error) => return Err(error),
        }
        all.extend(parse(&text));
    }
    all.sort_unstable();
    all.dedup();
    all.truncate(MOST);
    let part = into.with_extension("part");
    std::fs::write(&part, serde_json::to_vec(&all).unwrap_or_default())?;
    std::fs::rename(&part, into)
}

fn parse(table: &str) -> impl Iterator<Item = Listening> {
    table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next()?;
        let state = words.nth(1)?;
        (state == LISTENS).then(|| socket(local)).flatten()
    })
}

/// `0100007F:1F90`: each four bytes of an address are a number of the host's own order.
fn socket(text: &str) -> Option<Listening> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for at in (0..address.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some(Listening { address, port })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_listens_is_told_by_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("listening.json");
        let loopback = TcpListener::bind("127.0.0.1:0").unwrap();
        let all = TcpListener::bind("0.0.0.0:0").unwrap();
        let connected = TcpStream::connect(loopback.local_addr().unwrap()).unwrap();
        tell_listening(std::process::id(), &into).unwrap();
        let told: Vec<Listening> = serde_json::from_slice(&std::fs::read(&into).unwrap()).unwrap();
        let of = |port: u16| told.iter().find(|one| one.port == port);
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        // A host with many sockets tells of some.
        if told.len() < MOST {
            assert!(of(port(&loopback)).unwrap().is_loopback() && !of(port(&all)).unwrap().is_loopback());
        }
        assert_eq!(of(connected.local_addr().unwrap().port()), None);
        assert!(tell_listening(u32::MAX, &into).is_err());
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let v6 = |words: [u32; 4]| words.map(|word| format!("{word:08X}")).concat();
        let ne = |bytes: [u8; 4]| u32::from_ne_bytes(bytes);
        for (local, loopback) in [
            (format!("{:08X}:0BB8", ne([127, 0, 0, 1])), true),
            (format!("{:08X}:0BB8", 0), false),
            (format!("{}:0BB8", v6([0, 0, 0, ne([0, 0, 0, 1])])), true),
            (format!("{}:0BB8", v6([0; 4])), false),
            (format!("{}:0BB8", v6([0, 0, ne([0, 0, 255, 255]), ne([127, 0, 0, 1])])), true),
        ] {
            let socket = socket(&local).unwrap();
            assert_eq!((socket.port, socket.is_loopback()), (3000, loopback), "{local}");
        }
        for wrong in ["", ":", "00:1", "0100007F", "0100007F:FFFFF", "zzzzzzzz:0001"] {
            assert_eq!(socket(wrong), None, "{wrong}");
        }
    }
}
