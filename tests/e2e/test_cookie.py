"""The dashboard's cookie: it reaches no service."""

import socket

import requests
from host import Host

ECHO = (
    "FROM docker.io/library/busybox:stable\nCOPY --chmod=755 cookie /site/cgi-bin/cookie\n"
    'EXPOSE 8080\nSTOPSIGNAL SIGKILL\nCMD ["httpd", "-f", "-p", "8080", "-h", "/site"]\n'
)
CGI = (
    '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\n'
    'case $QUERY_STRING in who) echo "$HTTP_X_REAL_IP|$HTTP_FORWARDED|$HTTP_X_FORWARDED_FOR" ;; *) printf "[%s]" "$HTTP_COOKIE" ;; esac\n'
)


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
    # Nor what a visitor says of where they are.
    told = {"X-Real-IP": "192.0.2.1", "Forwarded": "for=192.0.2.1", "X-Forwarded-For": "192.0.2.1"}
    assert host.serve(name, "/cgi-bin/cookie?who", headers=told).text.strip() == "127.0.0.1||127.0.0.1"


def test_no_service_listens_at_localhost(host: Host, name: str):
    """There a browser on the host would send it the cookie, on any port and past the proxy."""
    host.create(name)
    host.start(name)
    (port,) = host.run("ls", f"/var/lib/podkeeper-proxy/routes/{name}.localhost").split()
    asked = lambda address: host.code("curl", "-s", "-o", "/dev/null", f"http://{address}:{port}/")
    assert asked("127.0.0.2") == 0
    for address in ("127.0.0.1", "[::1]", "localhost"):
        assert asked(address) == 7, address


# It answers as it is told by the path, whatever is asked.
RAW = (
    "FROM docker.io/library/busybox:stable\nCOPY --chmod=755 answer /answer\n"
    'EXPOSE 8080\nSTOPSIGNAL SIGKILL\nCMD ["nc", "-ll", "-p", "8080", "-e", "/answer"]\n'
)
ANSWER = r"""#!/bin/sh
read -r method path version
while read -r line && [ "${line%?}" ]; do :; done
head() { printf '%s\r\n' "$@"; }
case $path in
/socket*) head "HTTP/1.1 101 Switching Protocols" "Connection: Upgrade" "Upgrade: other" ;;
*) head "HTTP/1.1 200 OK" "Content-Length: 0" "Connection: close" ;;
esac
head "Set-Cookie: a=1; Path=/"
case $path in
*clear) head 'Clear-Site-Data: "cache", "Cookies" , "storage"' 'clear-site-data: "cookies"' 'Clear-Site-Data: "*"' ;;
*evil) head "Set-Cookie: podkeeper=evil; Domain=localhost" "Set-Cookie:   podkeeper = evil" \
    "Set-Cookie: =podkeeper=evil" "Set-Cookie: __Host-podkeeper=evil; Secure; Path=/" "set-cookie: podkeeper=" \
    "Set-Cookie: xpodkeeper=2" "Set-Cookie: podkeeperx=3; Path=/podkeeper=4" ;;
esac
head ""
"""


def answered(name: str, path: str, *headers: str, field: str = "set-cookie") -> tuple[int, list[str]]:
    """The status of an answer and what it says in this field, as it comes."""
    with socket.create_connection(("127.0.0.1", 8080), timeout=60) as connection:
        lines = [f"GET {path} HTTP/1.1", f"Host: {name}.localhost:8080", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(4096)
            assert more, head
            head += more
    first, *fields = head.split(b"\r\n\r\n")[0].decode().split("\r\n")
    pairs = [field.split(":", 1) for field in fields]
    values = [value.strip() for key, value in pairs if key.lower() == field]
    return int(first.split()[1]), [value for value in values if value]


def test_no_service_sets_or_removes_the_dashboards_cookie(host: Host, name: str, tmp_path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": RAW, "answer": ANSWER, "site/index.html": None})
    assert "Live:" in clone.push()
    assert answered(name, "/evil") == (200, ["a=1; Path=/", "xpodkeeper=2", "podkeeperx=3; Path=/podkeeper=4"])
    # What opens a socket passes the proxy as it is, or not at all.
    switch = ("Connection: Upgrade", "Upgrade: other")
    assert answered(name, "/socket", *switch) == (101, ["a=1; Path=/"])
    assert answered(name, "/socket/evil", *switch) == (502, [])
    # Browsers would remove those of the whole domain: what is the service's own goes.
    own = ['"cache", "cache" , "storage"', '"cache"', '"cache", "storage"']
    assert answered(name, "/clear", field="clear-site-data") == (200, own)
    assert answered(name, "/socket/clear", *switch, field="clear-site-data") == (502, [])


def test_no_service_has_an_address_or_the_dashboards_host(host: Host, name: str):
    host.create(name)
    for domain in ("127.0.0.1", "127.1", "2130706433", "0x7f.1", "192.0.2.1", "::1", "[::1]"):
        problem = host.call("PATCH", f"/services/{name}", 422, json={"domains": [domain]}).json()
        assert problem["type"].endswith(":invalid-setting"), domain
    assert host.call("PATCH", f"/services/{name}", 409, json={"domains": ["localhost"]}).json()["hint"]
    for address in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080"):
        assert requests.get("http://127.0.0.1:8080/", headers={"Host": address}, timeout=60).status_code == 404
    with host.configured('[listen]\npublic_url = "https://pods.example.org"\nservice_url = "https://{name}.example.org"\n'):
        problem = host.call("PUT", "/services/pods", 422, json={"template": "static"}).json()
        assert problem["type"].endswith(":name-reserved") and "the agent's own address" in problem["detail"]
