"""The interface does what its description says: a fuzzer that knows the description finds nothing else."""

import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from host import Host

# How many requests the fuzzer makes up for each operation, beside those that the description implies; more by hand:
# PODKEEPER_FUZZ=100. It is no length of time, in which a slow machine would test less.
EXAMPLES = int(os.environ.get("PODKEEPER_FUZZ", "10"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth"
# A log that is followed has no end while its service is there: the fuzzer would read it for ever.
# The fuzzer asks with names that it has read, that of the token that it shows among them. Without it, all that follows
# would be refused, and look as if it were locked well. Another name takes its place: to leave such a case out counts as
# one that could not be made, and too many of those end the fuzzing.
HOOKS = """
import schemathesis

@schemathesis.hook
def map_case(context, case):
    if case.operation.label == "DELETE /credentials/tokens/{name}" and case.path_parameters.get("name") == TOKEN:
        case.path_parameters["name"] = "another"
    if isinstance(case.query, dict) and "follow" in case.query:
        case.query["follow"] = "false"
    return case
"""


@pytest.fixture
def fuzzed(own: Host) -> Iterator[Host]:
    """A host of its own: passwords, sessions and tokens are made and removed. It takes as many wrong keys as are tried."""
    with own.configured("[limits]\nguesses = 1000000\n"):
        own.run("systemctl", "restart", "podkeeper")
        own.wait_ready()
        yield own


def fuzz(host: Host, folder: pathlib.Path, parameters: dict[str, str], *options: str) -> None:
    """Runs the fuzzer with these values in the place of path parameters."""
    token = host.call("GET", "/credentials/session", 200).json()["actor"].removeprefix("token:")
    (folder / "hooks.py").write_text(f"TOKEN = {json.dumps(token)}\n{HOOKS}")
    lines = [f'"path.{name}" = "{value}"' for name, value in parameters.items()]
    config = folder / "schemathesis.toml"
    config.write_text('hooks = "hooks.py"\n[parameters]\n' + "\n".join(lines) + "\n")
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"),
        f"--config-file={config}",
        "run",
        "http://127.0.0.1:7070/openapi.json",
        f"--checks={CHECKS}",
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={EXAMPLES}",
        "--suppress-health-check=too_slow",
        # To stop a service takes as long as its program takes to end.
        "--request-timeout=600",
        "--header",
        f"Authorization: Bearer {host.token}",
        "--no-color",
        *options,
    ]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True)
    report = done.stdout[-8000:] + done.stderr[-2000:]
    assert done.returncode == 0, report
    tested = re.search(r"(\d+) generated, \d+ passed", report)
    assert tested and int(tested[1]) > 200, report


def test_whatever_is_asked_is_answered_as_described(fuzzed: Host, tmp_path: pathlib.Path):
    # Git has its own protocol.
    fuzz(fuzzed, tmp_path, {}, "--exclude-path-regex=^/git/")
    fuzzed.call("GET", "/services", 200)


def test_whatever_is_asked_of_a_service_is_answered_as_described(fuzzed: Host, tmp_path: pathlib.Path):
    name = "fuzzed"
    fuzzed.create(name)
    deployment = fuzzed.start(name)
    parameters = {"name": name, "repo": name, "id": str(deployment["id"])}
    # It shall be there until the end.
    lasting = ["--exclude-method=DELETE", "--exclude-method=PUT"]
    fuzz(fuzzed, tmp_path, parameters, "--include-path-regex=^/(services/.name|deployments|hooks)", *lasting)
    fuzzed.call("GET", f"/services/{name}", 200)
