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
