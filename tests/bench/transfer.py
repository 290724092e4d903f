"""Pushing and cloning 100 MB, against git's own http-backend behind nginx, on the same loopback and the same disk."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator

import requests
from host import Host, git, wait_for
from measure import Row, install, median, seconds

ROUNDS = 3
FILES, SIZE = 100, 1_000_000
PACKAGES = {"nginx": "nginx-light", "fcgiwrap": "fcgiwrap"}

NGINX = """
daemon off; user root; worker_processes 1; pid FOLDER/nginx.pid; error_log FOLDER/error.log;
events {}
http {
  access_log off; client_body_temp_path FOLDER/body; fastcgi_temp_path FOLDER/fastcgi; proxy_temp_path FOLDER/proxy;
  uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
  server {
    listen 127.0.0.1:18080; client_max_body_size 0;
    location ~ /git(/.*) {
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
      fastcgi_param GIT_HTTP_EXPORT_ALL 1; fastcgi_param GIT_PROJECT_ROOT FOLDER/git;
      fastcgi_param PATH_INFO $1; fastcgi_param REMOTE_USER bench;
      fastcgi_pass unix:FOLDER/fcgi.sock;
    }
  }
}
"""


def prepare() -> None:
    """Installs what the reference needs, while this process still has this machine's network."""
    install(PACKAGES)


@contextlib.contextmanager
def http_backend(folder: pathlib.Path) -> Iterator[str]:
    (folder / "git").mkdir()
    (folder / "nginx.conf").write_text(NGINX.replace("FOLDER", str(folder)))
    programs = [
        ["fcgiwrap", "-c", "2", "-s", f"unix:{folder}/fcgi.sock"],
        ["/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)],
    ]
    running = []
    try:
        for argv in programs:
            running.append(subprocess.Popen(argv, env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/bin"}, start_new_session=True))

        def answers() -> bool:
            with contextlib.suppress(requests.RequestException):
                return requests.get("http://127.0.0.1:18080/", timeout=5).status_code == 404
            return False

        wait_for(answers, 20, "nginx answers")
        yield "http://127.0.0.1:18080/git"
    finally:
        for process in reversed(running):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def repository(folder: pathlib.Path) -> pathlib.Path:
    work = folder / "work"
    work.mkdir()
    git("init", "-q", "-b", "main", cwd=work)
    for number in range(FILES):
        (work / f"{number}.bin").write_bytes(os.urandom(SIZE))
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "100 MB", cwd=work)
    return work


def measure(host: Host) -> list[Row]:
    # On the disk that the host lies on, too.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="podkeeper-bench-", dir="/var/tmp"))
    taken: dict[str, list[float]] = {"push": [], "push reference": [], "clone": [], "clone reference": []}
    try:
        work = repository(folder)
        with http_backend(folder) as reference:
            for number in range(ROUNDS):
                name = f"bench-git-{number}"
                host.create(name)
                bare = folder / "git" / f"{number}.git"
                git("init", "-q", "--bare", "-b", "main", str(bare), cwd=folder)
                git("config", "http.receivepack", "true", cwd=bare)
                ours = f"http://git:{host.token}@127.0.0.1:7070/git/{name}.git"
                # Another branch than the one that is deployed: what is measured is git.
                pushes = {"push reference": f"{reference}/{number}.git", "push": ours}
                for what, url in pushes.items():
                    taken[what].append(seconds(lambda: git("push", "-q", url, "HEAD:refs/heads/data", cwd=work)))
                for what, url in pushes.items():
                    into = folder / "clone"
                    clone = lambda: git("clone", "-q", "--bare", "-b", "data", "--single-branch", url, str(into), cwd=folder)
                    taken[what.replace("push", "clone")].append(seconds(clone))
                    shutil.rmtree(into)
                host.delete(name)
                time.sleep(1)
    finally:
        shutil.rmtree(folder)
    what = "http-backend, nginx"
    return [
        Row(f"git {verb} of 100 MB", median(taken[verb]), "s", median(taken[f"{verb} reference"]), what, ratio_at_most=1.1)
        for verb in ("push", "clone")
    ]
