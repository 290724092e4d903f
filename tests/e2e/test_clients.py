"""Clients that nobody knows: what they send is bounded, and takes nothing from who is known."""

import base64
import contextlib
import os
import socket
import threading

import pytest
import requests
import socketio
from host import Host, git, wait_for
from sockets import PATIENCE, Client
from terminal import Terminals

AGENT = ("127.0.0.1", 7070)
# Another machine, for who counts by addresses.
STRANGER = "127.0.0.66"
PASSWORD = "correct wagon staple lantern"


def connect(address: str = STRANGER) -> socket.socket:
    stream = socket.socket()
    stream.settimeout(PATIENCE)
    stream.bind((address, 0))
    stream.connect(AGENT)
    return stream


def status(stream: socket.socket) -> int | None:
    """What it is answered; none where the connection ends without an answer."""
    with contextlib.suppress(ConnectionError):
        line = stream.makefile("rb").readline()
        return int(line.split()[1]) if line else None
    return None


def asked(text: str, address: str = STRANGER) -> int | None:
    with connect(address) as stream:
        with contextlib.suppress(ConnectionError):
            stream.sendall(text.encode())
        return status(stream)


def test_a_request_is_bounded_before_anybody_looks_at_it(host: Host):
    polling = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n"
    # Refused, or cut off while it still sends.
    assert asked(polling + f"X-Long: {'a' * 360_000}\r\n\r\n") in (431, None)
    assert asked(polling + f"X-Long: {'a' * 33_000}\r\n\r\n") == 431
    assert asked(polling + "X: y\r\n" * 200 + "\r\n") == 431
    assert asked("GET / HTTP/1.1\r\nHost: localhost\r\nHost: example.org\r\n\r\n") == 400
    assert asked("POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd") == 400
    large = f"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {1 << 30}\r\n\r\n"
    assert asked(large) == 413


def test_a_body_that_does_not_come_is_answered(host: Host):
    begun = "POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{"
    with host.configured('[limits]\nbody_timeout = "1s"\n'):
        assert asked(begun) == 408
        # A byte now and then is none either.
        with connect() as stream:
            stream.sendall(begun.encode())
            ended = threading.Event()

            def drip() -> None:
                with contextlib.suppress(OSError):
                    while not ended.wait(0.3):
                        stream.sendall(b" ")

            dripping = threading.Thread(target=drip)
            dripping.start()
            try:
                assert status(stream) == 408
            finally:
                ended.set()
                dripping.join()


def test_strangers_connections_take_no_place_from_who_is_known(host: Host, name: str):
    host.create(name)
    with contextlib.ExitStack() as stack:
        # Of one address some are taken, the rest closed.
        held = []
        for _ in range(200):
            held.append(stack.enter_context(connect()))
        closed = lambda: [is_closed(stream) for stream in held]
        wait_for(lambda: any(closed()) and not all(closed()), 10, "some are closed")
        # Of many, all that there are for strangers: their oldest silent ones go, and others come in.
        for number in range(1, 40):
            for _ in range(20):
                with contextlib.suppress(OSError):
                    stack.enter_context(connect(f"127.0.1.{number}"))
        assert host.call("GET", f"/services/{name}", 200).json()["name"] == name
        with Client(host.token, "/status") as client:
            assert client.ask("/status", "stats", on=True) == {}


def is_closed(stream: socket.socket) -> bool:
    stream.setblocking(False)
    try:
        return stream.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_handshakes_of_one_address_are_few_and_anothers_are_taken(host: Host):
    shake = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = [asked(shake) for _ in range(64)]
    assert 200 in answers and 429 in answers and set(answers) <= {200, 429}, answers
    assert asked(shake, "127.0.0.67") == 200
    with Client(host.token, "/status") as client:
        assert client.ask("/status", "stats", on=True) == {}
    # What joins nothing ends by itself, and gives its place back.
    wait_for(lambda: asked(shake) == 200, 20, "the stranger is let in again")


def test_a_flood_of_wrong_passwords_does_not_keep_the_right_one_waiting(host: Host, name: str, tmp_path):
    host.create(name)
    host.call("POST", "/credentials/update", 204, json={"password": PASSWORD})
    refs = f"GET /git/{name}.git/info/refs?service=git-upload-pack"
    ended, answers = threading.Event(), []

    def flood(address: str) -> None:
        while not ended.is_set() and len(answers) < 20_000:
            wrong = base64.b64encode(f"any:guess {len(answers)} from {address}".encode()).decode()
            guess = f"{refs} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {wrong}\r\nConnection: close\r\n\r\n"
            with contextlib.suppress(OSError):
                answers.append(asked(guess, address))

    threads = [threading.Thread(target=flood, args=(f"127.0.2.{number % 3}",)) for number in range(24)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: 429 in answers, 60, lambda: f"guesses are refused: {answers[-5:]}")
        right = f"http://any:{requests.utils.quote(PASSWORD)}@127.0.0.1:7070/git/{name}.git"
        for number in range(3):
            git("clone", "-q", right, str(tmp_path / str(number)), cwd=tmp_path)
        assert 200 not in answers and any(thread.is_alive() for thread in threads)
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def reader(host: Host, name: str):
    """A token that may read the service."""
    host.create(name)
    yield host.run("podkeeper", "token", "create", "--name", name, "--scope", "read", "--service", name).strip()
    host.run("podkeeper", "token", "remove", name, check=False)


def test_a_fetch_ends_with_the_token_that_it_was_asked_for_with(host: Host, name: str, reader: str, tmp_path):
    clone = host.clone(name, tmp_path / "clone")
    # More than lies between git and a client that reads nothing.
    clone.commit({"large": os.urandom(32 << 20), "site/index.html": "large"})
    assert "Live:" in clone.push()
    head = clone.git("rev-parse", "HEAD").strip()
    line = lambda text: f"{len(text) + 4:04x}{text}"  # noqa: E731
    wanted = line(f"want {head} no-progress\n") + "0000" + line("done\n")
    basic = base64.b64encode(f"any:{reader}".encode()).decode()
    with connect("127.0.0.1") as stream:
        stream.sendall(
            f"POST /git/{name}.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\n"
            f"Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {len(wanted)}\r\nConnection: close\r\n\r\n{wanted}".encode()
        )
        assert status(stream) == 200
        host.run("podkeeper", "token", "remove", name)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while more := len(stream.recv(1 << 20)):
                taken += more
    assert taken < 32 << 20, "it ends before its end"
    uploads = lambda: host.run("pgrep", "-fc", "git-upload-pack|git upload-pack|pack-objects", check=False).strip() == "0"
    wait_for(uploads, 10, "git has ended")


def test_a_terminal_ends_with_the_token_that_it_was_opened_with(host: Host, name: str):
    token = host.run("podkeeper", "token", "create", "--name", name).strip()
    with Terminals(host, token=token) as terminals:
        session = terminals.open()
        session.type("while sleep 0.1; do echo tick; done\r")
        session.wait("tick\r\ntick")
        host.run("podkeeper", "token", "remove", name)
        wait_for(lambda: not terminals.client.connected, 10, "it is cut off")
    with pytest.raises(socketio.exceptions.ConnectionError):
        Terminals(host, token=token)
