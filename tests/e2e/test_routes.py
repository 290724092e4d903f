"""The routing table: a folder whose files Caddy looks up at each request."""

import http.client

import pytest
from host import Host, wait_for

ROUTES = "/var/lib/podkeeper-proxy/routes"


def ask(host_header: str, address: str = "127.0.0.1") -> tuple[int, str]:
    """The status and the text, with exactly this Host."""
    connection = http.client.HTTPConnection(address, 8080, timeout=300)
    try:
        connection.putrequest("GET", "/", skip_host=True)
        connection.putheader("Host", host_header)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def ports(host: Host, name: str) -> list[str]:
    return host.run("sh", "-c", f"ls {ROUTES}/{name}.localhost 2>/dev/null || true").split()


def test_a_service_answers_at_its_name(host: Host, name: str):
    host.create(name)
    assert ask(f"{name}.localhost:8080")[0] == 404
    host.start(name)
    assert "It works" in ask(f"{name}.localhost:8080")[1]
    assert "It works" in ask(f"{name}.localhost")[1]
    assert "It works" in ask(f"{name}.localhost:8080", "::1")[1]
    # The table is a folder, and its one port is the unit's.
    (port,) = ports(host, name)
    assert 20000 <= int(port) <= 29999
    published = host.run("cat", f"/var/lib/podkeeper/.config/containers/systemd/{name}@1.container")
    assert f"PublishPort=127.0.0.2:{port}:8080" in published
    assert host.run("stat", "-c", "%U %a", f"{ROUTES}/{name}.localhost/{port}").split()[0] == "podkeeper"
    # A release of its own has a port of its own; where it was there is nothing afterwards.
    quick = host.call("POST", f"/services/{name}/restart", 202, json={"quick": True}).json()
    host.wait_deployment(quick["id"])
    wait_for(lambda: port not in ports(host, name), 10, "nothing leads to the old port")
    assert len(ports(host, name)) == 1
    host.call("POST", f"/services/{name}/stop", 200)
    assert ports(host, name) == [] and ask(f"{name}.localhost:8080")[0] == 404


def test_a_host_name_that_was_a_services_leads_to_it_no_longer(host: Host, name: str):
    host.create(name)
    host.start(name)
    (port,) = ports(host, name)
    taken = host.run("ls", "-R", ROUTES).split()
    free = next(str(number) for number in range(29999, 20000, -1) if str(number) not in taken)
    # Without the agent, which would find them too soon.
    host.run("systemctl", "stop", "podkeeper.service")
    try:
        # As after another `service_url`, one whose release is gone, and a route that somebody made to a program of their own.
        for other, to in ((f"{name}-old", port), (f"{name}-gone", free), (f"{name}-own", "9")):
            host.user("mkdir", "-p", f"{ROUTES}/{other}.localhost")
            host.user("touch", f"{ROUTES}/{other}.localhost/{to}")
        assert "It works" in ask(f"{name}-old.localhost:8080")[1]
        host.start_agent()
        for other in ("old", "gone"):
            wait_for(lambda: ports(host, f"{name}-{other}") == [], 20, "what is not the service's leads nowhere")
        assert ask(f"{name}-old.localhost:8080")[0] == 404
        assert ports(host, name) == [port] and "It works" in ask(f"{name}.localhost:8080")[1]
        assert ports(host, f"{name}-own") == ["9"]
    finally:
        host.run("sh", "-c", f"rm -rf {ROUTES}/{name}-*.localhost")


@pytest.mark.parametrize(
    "header",
    [
        "nothing.localhost:8080", "localhost:8080", "127.0.0.1:8080", "*", "*.localhost", "[n]ame.localhost", ".", "..", "../routes",
        "name.localhost:8080:8080", "name.localhost/x", "name.localhost%2f", "{env.HOME}",
        "name.localhost..", "NAME.localhost..", ".localhost", "a" * 300, "",
    ],
)  # fmt: skip
def test_a_host_without_a_route_leads_nowhere(host: Host, name: str, header: str):
    # What there is in the table is none of theirs.
    own = f"{ROUTES}/{name}-own.localhost"
    host.user("mkdir", "-p", own)
    host.user("touch", f"{own}/9")
    try:
        status, _ = ask(header.replace("name", name).replace("NAME", name.upper()))
        assert status in (400, 404)
    finally:
        host.run("rm", "-r", own)


def test_a_host_name_leads_to_its_service_however_it_is_written(host: Host, name: str):
    host.create(name)
    host.start(name)
    for written in (f"{name.upper()}.localhost:8080", f"{name}.LocalHost", f"{name}.localhost.", f"{name.upper()}.localhost.:8080"):
        assert "It works" in ask(written)[1], written


def test_a_domain_leads_to_its_service_at_once(host: Host, name: str):
    host.create(name)
    host.start(name)
    domain = f"{name}.example.com"
    host.call("PATCH", f"/services/{name}", 200, json={"domains": [domain]})
    assert "It works" in ask(domain)[1]
    host.call("PATCH", f"/services/{name}", 200, json={"domains": []})
    assert ask(domain)[0] == 404 and "It works" in ask(f"{name}.localhost:8080")[1]
