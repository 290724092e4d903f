"""The interface does what its description says: a fuzzer that knows the description finds nothing else."""

import os
import pathlib
import re
import subprocess
import sys

from host import Host

# How long the fuzzer may go on, in seconds; more by hand: PODKEEPER_FUZZ=600.
SECONDS = int(os.environ.get("PODKEEPER_FUZZ", "60"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth"


def fuzz(host: Host, folder: pathlib.Path, seconds: int, parameters: dict[str, str], *options: str) -> None:
    """Runs the fuzzer with these values in the place of path parameters."""
    lines = [f'"path.{name}" = "{value}"' for name, value in parameters.items()]
    config = folder / "schemathesis.toml"
    config.write_text("[parameters]\n" + "\n".join(lines) + "\n")
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"),
        f"--config-file={config}",
        "run",
        "http://127.0.0.1:7070/openapi.json",
        f"--checks={CHECKS}",
        "--phases=examples,coverage,fuzzing",
        f"--max-time={seconds}",
        # To stop a service takes as long as its program takes to end.
        "--request-timeout=60",
        "--header",
        f"Authorization: Bearer {host.token}",
        "--no-color",
        *options,
    ]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=seconds + 120)
    report = done.stdout[-8000:] + done.stderr[-2000:]
    assert done.returncode == 0, report
    tested = re.search(r"(\d+) generated, \d+ passed", report)
    assert tested and int(tested[1]) > 200, report


def test_whatever_is_asked_is_answered_as_described(host: Host, tmp_path: pathlib.Path):
    before = {service["name"] for service in host.call("GET", "/services", 200).json()["services"]}
    try:
        # Git has its own protocol.
        fuzz(host, tmp_path, SECONDS // 2, {}, "--exclude-path-regex=^/git/")
    finally:
        for service in host.call("GET", "/services", 200).json()["services"]:
            if service["name"] not in before:
                host.delete(service["name"])


def test_whatever_is_asked_of_a_service_is_answered_as_described(host: Host, name: str, tmp_path: pathlib.Path):
    host.create(name)
    deployment = host.start(name)
    parameters = {"name": name, "repo": name, "id": str(deployment["id"])}
    # It shall be there until the end.
    lasting = ["--exclude-method=DELETE", "--exclude-method=PUT"]
    fuzz(host, tmp_path, SECONDS // 2, parameters, "--include-path-regex=^/(services/.name|deployments|hooks)", *lasting)
    host.call("GET", f"/services/{name}", 200)
