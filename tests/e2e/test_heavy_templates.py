"""What takes large base images: some templates, the recipes for repositories of their kind, and the shell's image."""

import contextlib
from collections.abc import Iterator

import pytest
from host import Host
from terminal import Terminals
from test_minimal import archive
from test_templates import build_and_serve

PROGRAMS = "bash curl dig file git ip jq less nano ping ps python3 rg rsync ssh tmux tree unzip vi wget xz"


@pytest.mark.parametrize("template", ["go", "rust", "php"])
def test_a_template_is_built_and_served(host: Host, name: str, template: str, tmp_path):
    body = build_and_serve(host, name, template)
    # The same files without a Containerfile are built by the recipe that fits them.
    clone = host.clone(name, tmp_path / "clone")
    files: dict[str, str | None] = {"Containerfile": None}
    if template == "php":
        files |= {"public/index.php": None, "index.php": (clone.folder / "public/index.php").read_text()}
    clone.commit(files)
    said = clone.push()
    assert f"no Containerfile; building by the recipe \"{ {'go': 'Go', 'rust': 'Rust', 'php': 'PHP'}[template]}\"" in said
    assert "remote:   Live:" in said, said
    assert host.serve(name).text == body


@contextlib.contextmanager
def outside(host: Host) -> Iterator[None]:
    """What Podman builds for the agent, in the host's network, reaches Debian's archive."""
    with archive() as proxy:
        try:
            host.user("systemctl", "--user", "set-environment", f"http_proxy={proxy}")
            host.user("systemctl", "--user", "restart", "podman.service")
            yield
        finally:
            host.user("systemctl", "--user", "unset-environment", "http_proxy")
            host.user("systemctl", "--user", "restart", "podman.service")


def test_the_packages_own_recipe_makes_the_shell(host: Host):
    before = host.run("cat", "/etc/podkeeper/podkeeper.toml")
    try:
        host.reconfigure(before.replace("image =", "# image ="))
        with outside(host), Terminals(host) as terminals:
            shell = terminals.open()
            assert b"the shell's image is built, this once" in shell.wait("# ", 600)
            assert shell.run(f"command -v {PROGRAMS} | wc -l") == str(len(PROGRAMS.split()))
            assert shell.run("tput colors; echo $LANG") == "256\nC.UTF-8"
            shell.close()
            again = terminals.open()
            assert b"image is built" not in again.wait("# ", 60)
            again.close()
    finally:
        for image in host.user("podman", "images", "--quiet", "localhost/podkeeper-shell").split():
            host.user("podman", "rmi", "--force", image)
        host.reconfigure(before)
