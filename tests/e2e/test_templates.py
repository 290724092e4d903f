"""The templates whose base images are small: each is built and served as it is shipped."""

import pytest
from host import Host

ALL = ["containerfile", "empty", "go", "node", "php", "python", "rust", "static"]


def build_and_serve(host: Host, name: str, template: str) -> str:
    """What the template's own files answer."""
    assert host.create(name, template)["source"] == {"type": "template", "template": template}
    deployment = host.start(name)
    assert deployment["release"] == 1 and len(deployment["commit"]) == 40
    answer = host.serve(name)
    assert answer.status_code == 200 and "It works" in answer.text
    log = host.call("GET", f"/deployments/{deployment['id']}/log", 200).text
    assert "building by the repository's Containerfile" in log
    return answer.text


def test_the_list_tells_what_each_makes(host: Host):
    templates = host.call("GET", "/templates", 200).json()["templates"]
    assert [template["name"] for template in templates] == ALL
    for template in templates:
        assert template["title"] and template["description"].endswith(".") and template["port"] == 8080


@pytest.mark.parametrize("template", ["static", "node", "python", "containerfile"])
def test_a_template_is_built_and_served(host: Host, name: str, template: str, tmp_path):
    build_and_serve(host, name, template)
    # Its starter files are a repository's first commit, and the next push changes them.
    clone = host.clone(name, tmp_path / "clone")
    assert clone.git("rev-list", "--count", "HEAD").strip() == "1"
    assert (clone.folder / "README.md").read_text().startswith("# ")
    if template in ("node", "python"):
        # The same files without a Containerfile are built by the recipe that fits them.
        clone.commit({"Containerfile": None})
        said = clone.push()
        assert f'no Containerfile; building by the recipe "{template.capitalize()}"' in said
        assert "It works" in host.serve(name).text
    # A release of it ends at once when it is told to.
    host.call("POST", f"/services/{name}/stop", 200)
    release = host.call("GET", f"/services/{name}", 200).json()["release"]
    assert host.user("systemctl", "--user", "show", "-P", "Result", f"{name}@{release}.service").strip() == "success"
