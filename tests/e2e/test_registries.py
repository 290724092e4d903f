"""Private images: a real registry on the host that asks for a password, and the logins that builds fetch them with."""

import contextlib
import json
import pathlib
import subprocess
import urllib.parse
from collections.abc import Iterator

import pytest
from host import Host, wait_for

# On what stands for the internet.
REGISTRY = "192.0.2.1:5001"
PASSWORD = "p@ss:wörd %41"
AUTH_FILE = "/var/lib/podkeeper/.config/containers/auth.json"
CONTAINERFILE = (
    f"FROM {REGISTRY}/library/busybox:stable\nCOPY site /site\nEXPOSE 8080\nSTOPSIGNAL SIGKILL\n"
    'CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]\n'
)


@pytest.fixture(scope="module")
def registry(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("registry")
    hashed = host.run("caddy", "hash-password", input=f"{PASSWORD}\n{PASSWORD}\n").split()[-1]
    trust = f"/etc/containers/certs.d/{REGISTRY}"
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    address = REGISTRY.split(":")[0]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=registry", "-addext", f"subjectAltName=IP:{address}", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    host.run("mkdir", "-p", "/srv/private", trust)
    host.put(key, "/srv/private/key.pem")
    host.put(certificate, "/srv/private/certificate.pem")
    host.write("/srv/private/htpasswd", f"ann:{hashed}\n")
    host.write(
        "/srv/private/config.yml",
        "version: 0.1\nlog: { level: warn }\n"
        "storage:\n  filesystem: { rootdirectory: /srv/registry }\n  maintenance: { readonly: { enabled: true } }\n"
        f'http: {{ addr: "{REGISTRY}", tls: {{ certificate: /srv/private/certificate.pem, key: /srv/private/key.pem }} }}\n'
        "auth: { htpasswd: { realm: private, path: /srv/private/htpasswd } }\n",
    )
    serve = ("docker-registry", "serve", "/srv/private/config.yml")
    with contextlib.ExitStack() as stack:
        stack.callback(host.run, "rm", "-rf", trust, AUTH_FILE)
        host.put(certificate, f"{trust}/ca.crt")
        stack.callback(host.run, "systemctl", "stop", "private.service")
        outside = "--property=NetworkNamespacePath=/run/netns/internet"
        host.run("systemd-run", "--quiet", "--collect", "--unit=private", outside, *serve)
        answers = lambda: host.code("curl", "-ks", "-o", "/dev/null", f"https://{REGISTRY}/v2/") == 0
        wait_for(answers, 30, "the registry answers")
        yield


def logins(host: Host, registry: str = REGISTRY) -> list[dict[str, str]]:
    """Those at this registry."""
    known = host.call("GET", "/registries", 200).json()["registries"]
    return [login for login in known if login["registry"] == registry]


def test_an_image_of_a_private_registry_is_built_on(host: Host, registry: None, name: str, tmp_path: pathlib.Path):
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"Containerfile": CONTAINERFILE, "site/index.html": "private\n"})
    assert "authentication required" in clone.push()

    wrong = host.call("PUT", f"/registries/{REGISTRY}", 422, json={"username": "ann", "password": "wrong"}).json()
    assert wrong["type"] == "urn:podkeeper:problem:login-failed" and REGISTRY in wrong["detail"]
    assert not logins(host)
    assert host.code("grep", "-qF", REGISTRY, AUTH_FILE) != 0

    login = ["podkeeper", "registry", "login", REGISTRY, "--username", "ann"]
    assert host.run(*login, input=f"{PASSWORD}\n") == f"ann is logged in at {REGISTRY}\n"
    host.kill_agent()
    host.start_agent()
    assert logins(host) == [{"registry": REGISTRY, "username": "ann"}]
    listed = [line.split() for line in host.run("podkeeper", "registry", "list").splitlines()]
    assert listed[0] == ["REGISTRY", "USER"] and [REGISTRY, "ann"] in listed
    assert host.run("stat", "-c", "%a %U", AUTH_FILE).split() == ["600", "podkeeper"]
    host.start(name)
    assert host.serve(name).text == "private\n"

    audit = host.call("GET", "/audit?limit=200", 200).json()
    assert any(row["action"] == "PUT /registries/:registry" and row["detail"] == "ann" for row in audit["rows"])
    assert PASSWORD not in json.dumps(audit, ensure_ascii=False) and not host.journal_holds(PASSWORD)

    host.run("podkeeper", "registry", "logout", REGISTRY)
    assert not logins(host)
    gone = host.call("DELETE", f"/registries/{REGISTRY}", 404).json()
    assert gone["type"] == "urn:podkeeper:problem:not-found"


@pytest.mark.parametrize(
    ("registry", "body", "code"),
    [
        ("https:%2F%2Fexample.org", {"username": "ann", "password": "x"}, "invalid-name"),
        ("example.org:0", {"username": "ann", "password": "x"}, "invalid-name"),
        ("example.org", {"username": "a:b", "password": "x"}, "bad-request"),
        ("example.org", {"username": "", "password": "x"}, "bad-request"),
        ("example.org", {"username": "ann"}, "bad-request"),
        ("localhost:9", {"username": "ann", "password": "x"}, "login-failed"),
    ],
)
def test_what_can_be_no_login_is_refused(host: Host, registry: str, body: dict[str, str], code: str):
    answer = host.call("PUT", f"/registries/{registry}", json=body)
    assert answer.status_code in (400, 422) and answer.json()["type"] == f"urn:podkeeper:problem:{code}", answer.text
    assert not logins(host, urllib.parse.unquote(registry))
