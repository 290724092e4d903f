"""A Debian 13 that has nothing of what Podkeeper depends on, and no list of packages: `packaging/up` fetches them."""

import contextlib
import http.server
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from conftest import debs, fresh
from host import ROOT, Host, leave_network, wait_for

# What apt asks the archive by.
PASSED = ("If-Modified-Since", "Range", "If-Range")


class Archive(http.server.BaseHTTPRequestHandler):
    """A proxy: it asks in this machine's network for what is asked of it in the host's."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        headers = {name: self.headers[name] for name in PASSED if name in self.headers}
        try:
            answer = urllib.request.urlopen(urllib.request.Request(self.path, headers=headers), timeout=600)
        except urllib.error.HTTPError as error:
            answer = error
        except OSError as error:
            return self.send_error(502, str(error))
        with answer:
            self.send_response(answer.status)
            for name in ("Content-Length", "Content-Range", "Last-Modified"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            if "Content-Length" not in answer.headers:
                self.send_header("Content-Length", "0")
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)

    def log_message(self, *_) -> None:
        pass


@contextlib.contextmanager
def archive() -> Iterator[str]:
    """The proxy's address, on the loopback of the network that this thread is in."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive)

    def serve() -> None:
        # The threads that it starts are in this one's network.
        leave_network()
        server.serve_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def minimal(monkeypatch) -> Iterator[Host]:
    monkeypatch.setenv("PODKEEPER_ROOT", "minimal")
    with fresh("m") as host:
        yield host


def test_up_fetches_what_it_depends_on(minimal: Host):
    assert minimal.code("sh", "-c", "command -v podman || command -v caddy || command -v git || command -v curl") != 0
    minimal.run("mkdir", "/root/packaging")
    for file in ("apt", "common", "up"):
        minimal.put(ROOT / "packaging" / file, f"/root/packaging/{file}")
    given = []
    for package in ("podkeeper-host", "podkeeper"):
        (file,) = debs().glob(f"{package}_*.deb")
        minimal.put(file, f"/root/{file.name}")
        given += ["--deb", f"/root/{file.name}"]
    refused = minimal.run("bash", "/root/packaging/up", *given, check=False)
    assert "apt finds none: it takes Debian 13, and its archive in reach" in refused
    with archive() as proxy:
        minimal.write("/etc/apt/apt.conf.d/proxy", f'Acquire::http {{ Proxy "{proxy}"; Timeout "600"; }};\nAcquire::Retries "3";\n')
        updated = minimal.run("apt-get", "update", check=False, timeout=3600)
        if "Err:" in updated:
            pytest.skip(f"Debian's archive can't be reached: {updated.splitlines()[-1]}")
        minimal.run("sh", "-c", "rm -r /var/lib/apt/lists/*")
        said = minimal.run("bash", "/root/packaging/up", *given, check=False, timeout=3600)
    assert re.search(r"^Setting up podman \(", said, re.MULTILINE) and "Setting up caddy (" in said
    assert "Podkeeper runs" in said, said[-3000:]
    minimal.wait_ready()
    for unit in ("podkeeper.service", "podkeeper-proxy.service"):
        assert minimal.run("systemctl", "is-active", unit) == "active\n"
    assert minimal.user("systemctl", "--user", "is-active", "podman.socket") == "active\n"
    state = lambda: minimal.run("systemctl", "is-system-running", check=False)
    wait_for(lambda: state() == "running\n", 30, lambda: f"the host is well: {state()}")
    minimal.run("podkeeper", "doctor")
