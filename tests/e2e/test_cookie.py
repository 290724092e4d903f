"""The dashboard's cookie: it reaches no service."""

from host import Host

ECHO = (
    "FROM docker.io/library/busybox:stable\nCOPY --chmod=755 cookie /site/cgi-bin/cookie\n"
    'EXPOSE 8080\nSTOPSIGNAL SIGKILL\nCMD ["httpd", "-f", "-p", "8080", "-h", "/site"]\n'
)
CGI = '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n[%s]" "$HTTP_COOKIE"\n'


def test_no_service_gets_the_dashboards_cookie(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": ECHO, "cookie": CGI, "site/index.html": None})
    clone.push()
    for sent, wanted in [
        ("a=1; b=podkeeper=2", "a=1; b=podkeeper=2"),
        ("podkeeper=secret", ""),
        ("__Host-podkeeper=secret", ""),
        ("a=1; podkeeper=secret; b=2", "a=1; b=2"),
        ("podkeeper=secret;a=1", "a=1"),
        ("podkeeper=secret; __Host-podkeeper=secret; podkeeper=secret", ""),
        ("a=1;podkeeper=secret", "a=1"),
        ("xpodkeeper=1; podkeeperx=2", "xpodkeeper=1; podkeeperx=2"),
    ]:
        got = host.serve(name, "/cgi-bin/cookie", headers={"Cookie": sent}).text
        assert got == f"[{wanted}]", sent


def test_no_service_listens_at_localhost(host: Host, name: str):
    """There a browser on the host would send it the cookie, on any port and past the proxy."""
    host.create(name)
    host.start(name)
    (port,) = host.run("ls", f"/var/lib/podkeeper-proxy/routes/{name}.localhost").split()
    asked = lambda address: host.code("curl", "-s", "-o", "/dev/null", f"http://{address}:{port}/")
    assert asked("127.0.0.2") == 0
    for address in ("127.0.0.1", "[::1]", "localhost"):
        assert asked(address) == 7, address
