"""Lines in the journal as if a service's containers had written them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from host import Host

# Writes as conmon does. Each line of what it reads: a container's letter, the priority, how many bytes, whether they are marked.
CONMON = r"""
use IO::Socket::UNIX;
my ($name) = @ARGV;
$0 = "conmon";
my $journal = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => "/run/systemd/journal/socket") or die;
while (<STDIN>) {
    my ($container, $priority, $text, $bytes, $marked) = split;
    $text .= "." x ($bytes - length $text);
    my $entry = "MESSAGE=$text\nPRIORITY=$priority\nSYSLOG_IDENTIFIER=$name\nCONTAINER_TAG=$name\nCONTAINER_ID_FULL=$container\n";
    $entry .= "CONTAINER_PARTIAL_MESSAGE=true\n" if $marked;
    $journal->send($entry) or die;
}
"""


def pretend(host: Host, name: str, pieces: list[tuple[str, int, str, int, bool]]) -> None:
    """The service's containers write these."""
    host.write("/tmp/t-conmon.pl", CONMON)
    text = "".join(f"{container} {priority} {text} {size} {int(marked)}\n" for container, priority, text, size, marked in pieces)
    host.write("/tmp/t-conmon", text)
    host.user("sh", "-c", f"perl /tmp/t-conmon.pl {name} </tmp/t-conmon")
    host.run("rm", "/tmp/t-conmon.pl", "/tmp/t-conmon")


def matches(host: Host, name: str, builds: bool = True) -> list[str]:
    """What journalctl is asked for: the lines of all releases, and those of the builds."""
    uid = host.uid()
    wanted = [f"_UID={uid}", f"SYSLOG_IDENTIFIER={name}", f"CONTAINER_TAG={name}"]
    for deployment in host.call("GET", f"/services/{name}/deployments", 200).json()["deployments"] if builds else []:
        build = f"build-{deployment['id']}"
        wanted += ["+", f"_UID={uid}", "_TRANSPORT=stdout", f"SYSLOG_IDENTIFIER={build}"]
    # What journald dropped, of whichever service.
    return [*wanted, "+", "_TRANSPORT=driver", "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e", f"OBJECT_SYSTEMD_UNIT=user@{uid}.service"]

# Says of the text of an entry how many entries have it. None is what a reader finds while journald links an entry's fields:
# the data object is there, and counts nothing yet (systemd's docs/JOURNAL_FILE_FORMAT.md, "Data Objects").
LINK = r"""
my ($text, $entries) = @ARGV;
my $found = 0;
for my $path (glob "/var/log/journal/*/system.journal /run/log/journal/*/system.journal") {
    open my $file, "+<:raw", $path or die "$path: $!";
    my $bytes = do { local $/; <$file> };
    my $is_compact = unpack("V", substr $bytes, 12, 4) & 16;
    my $at = index $bytes, "MESSAGE=$text";
    next if $at < 0;
    seek $file, $at - ($is_compact ? 72 : 64) + 56, 0 or die;
    print $file pack "Q<", $entries or die;
    $found++;
}
die "$found files have it" if $found != 1;
"""


@contextlib.contextmanager
def being_written(host: Host, text: str) -> Iterator[None]:
    """journald has not linked this line's text yet. No other line may begin with it."""
    host.write("/tmp/t-link.pl", LINK)
    try:
        host.run("perl", "/tmp/t-link.pl", text, "0")
        yield
    finally:
        host.run("perl", "/tmp/t-link.pl", text, "1")
        host.run("rm", "/tmp/t-link.pl")
