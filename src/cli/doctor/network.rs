//! The way to the internet.

use super::finding::{Finding, Level, good, wrong};

/// Whether the kernel's tables, which count routes in lines, have one that leads anywhere. What started without one has it
/// as soon as the host has.
pub(super) fn network() -> Finding {
    let lines = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    if has_route(&lines("/proc/net/route"), &lines("/proc/net/ipv6_route")) {
        return good("network", "it leads to the internet");
    }
    let detail = "this host has no default route: nothing can be fetched, and services reach nothing outside";
    wrong("network", Level::Warn, detail, "bring the network up; `ip route show default` tells when it is")
}

/// By proc_net_route's columns: interface, destination, gateway, flags, …, mask; and in IPv6's: destination, its length, …,
/// interface, where the kernel keeps a default of its own on `lo`, which leads nowhere.
fn has_route(ipv4: &str, ipv6: &str) -> bool {
    ipv4.lines().skip(1).any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(1) == Some(&"00000000") && columns.get(7) == Some(&"00000000")
    }) || ipv6.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(1) == Some(&"00") && columns.last().is_some_and(|interface| *interface != "lo")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_found_in_either_table() {
        let none = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nlink\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        let some = format!("{none}eth0\t00000000\t010A630A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
        let zeros = "0".repeat(32);
        let kernels = format!("{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n");
        let leads = format!("{kernels}{zeros} 00 {zeros} 00 {zeros} 00000400 00000001 00000000 00000003     eth0\n");
        assert!(!has_route(none, &kernels) && !has_route("", ""));
        assert!(has_route(&some, &kernels) && has_route(none, &leads));
    }
}
