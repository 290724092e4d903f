"""What a repository says of how it is built and run, as buildah and Podman carry it out."""

from __future__ import annotations

import pathlib

from containers import IMAGE, last
from host import Host

FILE = """
root = "apps/web"
containerfile = "docker/File"
watch = ["apps"]
build_env = ["URL"]
build_secrets = ["TOKEN"]

[build_args]
MODE = "a b=c"
"""
CONTAINERFILE = f"""{IMAGE}
ARG MODE
ARG URL
ARG SOURCE_COMMIT
RUN echo "$MODE, $URL, $SOURCE_COMMIT" >/built
RUN --mount=type=secret,id=TOKEN grep -qx "hunter[0-9]-of-[a-z]*" /run/secrets/TOKEN && echo it is told
RUN test ! -e /run/secrets/TOKEN && test ! -e /kept
COPY page /page
EXPOSE 9090 80
STOPSIGNAL SIGKILL
VOLUME /kept
USER 1000
CMD ["sh", "-c", "cp /built /page /kept && exec httpd -f -p 9090 -h /kept"]
"""


def test_what_a_repository_says_is_built_and_run(host: Host, name: str, tmp_path: pathlib.Path):
    """A folder of it, by a file, with arguments and a secret; its volume is the image's user's, and the port the first that
    it names."""
    host.create(name)
    clone = host.clone(name, tmp_path / "clone")
    clone.commit({"podkeeper.toml": FILE, "apps/web/docker/File": CONTAINERFILE, "apps/web/page": "page"})
    said = clone.push(check=False)
    assert "`build_env` names `URL`, and the service has no such variable" in said, said
    env = {"URL": "https://x.example/?a=b", "TOKEN": "hunter2-of-builds"}
    host.call("POST", f"/services/{name}/env/update", json={"env": env, "restart": False})
    commit = clone.commit({"apps/web/page": "another"})
    said = clone.push()
    for line in ("podkeeper.toml sets `root`, `containerfile`, `watch`", "apps/web/docker/File", "it is told", "port 9090, the first that"):
        assert line in said, (line, said)
    release = last(host, name)["release"]
    assert host.serve(name, "/built").text == f"a b=c, https://x.example/?a=b, {commit}\n"
    assert host.serve(name, "/page").text == "another"
    # The secret is in no layer, no history, no line, and on no disk.
    image = f"localhost/podkeeper/{name}:{release}"
    facts = host.user("podman", "image", "inspect", image) + host.user("podman", "history", "--no-trunc", image)
    assert "hunter2" not in facts and "hunter2" not in said
    state = "grep -rslF hunter2-of-builds /var/lib/podkeeper/builds /var/lib/podkeeper/cache /var/lib/podkeeper/agent || true"
    assert host.run("sh", "-c", state) == ""
    service = host.call("GET", f"/services/{name}", 200).json()
    assert service["repository"]["root"] == "apps/web" and service["settings"]["root"] is None
    shown = host.run("podkeeper", "settings", name)
    assert [line.split()[:3] for line in shown.splitlines() if line.startswith("root ")] == [["root", "apps/web", "podkeeper.toml"]]
    # A push of something else is kept.
    clone.commit({"docs/more.md": "more"})
    said = clone.push()
    assert "Kept. Nothing of `apps` has changed in commit" in said and "Live" not in said, said
    assert (last(host, name)["state"], last(host, name)["problem"]["code"]) == ("cancelled", "unchanged"), last(host, name)
