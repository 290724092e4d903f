"""What can be reached from a place, and what there is to reach: the internet, its neighbours and a cloud's metadata."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

from host import Host, leave_network, wait_for

# What is reached says so. An error of a server is an answer, too. An address that was just given is no one's own yet.
REACH = (
    "while ip -6 addr show | grep -q tentative; do sleep 0.1; done; for at in {}; do "
    "{{ wget -T 3 -O /dev/null http://$at/ 2>&1 | grep -q -E 'HTTP/|saving to' && echo reached $at; }} & done; wait"
)


def reached(said: str) -> set[str]:
    return {line.split()[-1] for line in said.splitlines() if line.startswith("reached ")}


def reaches(ask: Callable[[], str], wanted: set[str]) -> None:
    """Asks until each of these was reached, though a slow machine may not answer in time; nothing else ever is."""
    seen: set[str] = set()

    def all_were() -> bool:
        seen.update(reached(ask()))
        assert seen <= wanted, seen - wanted
        return seen == wanted

    wait_for(all_were, 20, lambda: f"{wanted - seen} is reached")


# Addresses of documentation: nobody's on the internet, and of the internet for all that goes by networks.
INTERNET = ("198.51.100.1", "2001:db8:100::1")
# Where clouds tell their machines what is theirs: most, Amazon's containers, Alibaba, Oracle, Azure, Amazon, Google.
AZURE = "168.63.129.16"
METADATA = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192", AZURE, "fd00:ec2::254", "fd20:ce::254")
LINK = "2001:db8:99::"


def at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@contextlib.contextmanager
def served_outside(host: Host, own: str, folder: pathlib.Path):
    """A page on the machine that the host is connected to: by its own address, by such as the internet has, and by a
    cloud's."""
    machine = own.rsplit(".", 1)[0] + ".1"
    on_machine = lambda *argv: subprocess.run(argv, preexec_fn=leave_network, check=True, capture_output=True, text=True)  # noqa: E731
    device = on_machine("ip", "-o", "addr", "show", "to", machine).stdout.split()[1]
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "::", "--directory", str(folder), "0"]
    with contextlib.ExitStack() as stack:
        for address in (*INTERNET, *METADATA, f"{LINK}1/64"):
            on_machine("ip", "addr", "add", address, "dev", device, *(("nodad",) if ":" in address else ()))
            stack.callback(on_machine, "ip", "addr", "del", address, "dev", device)
        has_address(host, stack, f"{LINK}2/64", "eth0")
        host.run("ip", "-6", "route", "add", "default", "via", f"{LINK}1")
        stack.callback(host.run, "ip", "-6", "route", "del", "default", check=False)
        server = subprocess.Popen(command, preexec_fn=leave_network, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        stack.callback(server.wait)
        stack.callback(server.kill)
        port = int(server.stdout.readline().split(" port ")[1].split()[0])
        yield at(machine, port), {at(address, port) for address in INTERNET}, {at(address, port) for address in METADATA}


def has_address(host: Host, stack: contextlib.ExitStack, address: str, device: str) -> None:
    host.run("ip", "addr", "add", address, "dev", device, *(("nodad",) if ":" in address else ()))
    stack.callback(host.run, "ip", "addr", "del", address, "dev", device, check=False)


@contextlib.contextmanager
def resolving(host: Host):
    """A resolver on the host's loopback, where its own is, that knows one address for every name."""
    before = host.run("cat", "/etc/resolv.conf")
    # Our own network is the host's.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))

        def answer() -> None:
            while True:
                query, client = server.recvfrom(512)
                if len(query) < 12:
                    return
                wanted = query[12 : query.index(0, 12) + 5]
                address = wanted.endswith(b"\0\1\0\1")
                record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(INTERNET[0]) if address else b""
                server.sendto(query[:2] + b"\x81\x80\0\1\0" + bytes([address]) + b"\0\0\0\0" + wanted + record, client)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            host.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
            yield
        finally:
            host.write("/etc/resolv.conf", before)
            server.sendto(b"over", ("127.0.0.1", 53))
            thread.join()
