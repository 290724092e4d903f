"""The templates whose base images are large, and the recipes for repositories of their kind."""

import pytest
from host import Host
from test_templates import build_and_serve


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
