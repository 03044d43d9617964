"""The server under slow and broken sockets, bombs, thousands of connections and load; it stops within 3 seconds."""

import http.client
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from campaign import LONG_ONLY
from forks import ONE_THREAD
from odd_pictures import bombs
from serve_load import pictures

STOP_SECONDS = 3.0
HEALTH_SECONDS = 2.0  # what an answer to /healthz may take while others send bombs
BOMB_SECONDS = 8.0  # 5 of the processor, and what it waits for others
HEALTHY = {200, 400, 408, 413, 415, 422, 503}
MAX_MEGABYTES = 2500.0  # of the server and its processes, whatever is sent


class Server:
    """`kilnet serve` of a run, as a process."""

    def __init__(self, run):
        words = [sys.executable, "-m", "kilnet", "serve", str(run), "--port", "0", "--json"]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD
        )
        self.port = int(json.loads(self.process.stdout.readline())["url"].rstrip("/").rpartition(":")[2])

    def connect(self, timeout=20.0):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def ask(self, method, path, body=None, timeout=60.0):
        """Return status and seconds of a request."""
        start = time.monotonic()
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as connection:
            connection.request(method, path, body, {"Content-Type": "image/png"})
            answer = connection.getresponse()
            answer.read()
            return answer.status, time.monotonic() - start

    def processes(self):
        """Return the numbers of the server's processes."""
        found, new = [], [self.process.pid]
        while new:
            found += new
            new = [int(word) for process in new for word in _children(process)]
        return found

    def megabytes(self):
        """Return the memory of all its processes."""
        return sum(map(_megabytes, self.processes()))

    def stop(self, number):
        """Send a signal; returns exit code, standard error, seconds, and which of its processes are there still."""
        before, start = self.processes(), time.monotonic()
        self.process.send_signal(number)
        try:
            err = self.process.communicate(timeout=30)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            err = self.process.communicate()[1]
        seconds = time.monotonic() - start
        return (
            self.process.returncode,
            err,
            seconds,
            [number for number in before if Path(f"/proc/{number}").exists()],
        )


def _children(process):
    try:
        return Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []


def _megabytes(process):
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
    except OSError:
        return 0.0


@contextmanager
def serving(run):
    """A server; ended afterwards."""
    server = Server(run)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def head(server, length):
    lines = ["POST /api/predict HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Content-Type: image/png"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def check_health(campaign, server, case):
    """The server answers somebody else, soon."""
    try:
        status, seconds = server.ask("GET", "/healthz", timeout=30)
    except OSError as error:
        campaign.fail("lost", case, f"no answer: {error!r}")
        return
    campaign.largest("seconds to /healthz", seconds)
    if status != 200 or seconds > HEALTH_SECONDS:
        campaign.fail("over limit", case, f"/healthz: {status} in {seconds:.1f} s")


def broken_socket(server, chance):
    """Do to a server what a broken or evil client may do; returns a socket that may still be open."""
    picture = pictures(1)[0]
    start = head(server, len(picture)) + picture
    connection = server.connect()
    way = chance.randrange(6)
    try:
        if way == 0:
            connection.sendall(start[: chance.randrange(len(start))])
        elif way == 1:
            connection.sendall(chance.randbytes(chance.randrange(1, 3000)))
        elif way == 2:
            connection.sendall(start)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        elif way == 3:
            connection.sendall(start[: chance.randrange(len(start))])
            connection.shutdown(socket.SHUT_WR)
        elif way == 4:
            connection.sendall(head(server, 10 ** chance.randrange(1, 12)) + picture)
        else:
            connection.sendall(start * 50)  # and never reads
    except OSError:
        pass  # it was hung up on
    return connection


def test_server_with_broken_sockets(campaign, colour_run):
    with serving(colour_run) as server:
        chance, open_ones = campaign.random(), []
        for number in range(campaign.size(40, 200, 3000)):
            open_ones.append(broken_socket(server, chance))
            campaign.tried("broken sockets")
            if len(open_ones) > 100:
                open_ones.pop(0).close()
            if number % 20 == 0:
                check_health(campaign, server, f"after broken socket {number}")
        for connection in open_ones:
            connection.close()
        end(campaign, server, "broken sockets", signal.SIGTERM)


@LONG_ONLY
def test_server_with_bombs(campaign, colour_run):
    with serving(colour_run) as server:
        chosen = [
            (name, content)
            for name, content in campaign.some(bombs().items(), 4, 30)
            if len(content) < 20 * 2**20
        ]
        for name, content in campaign.named(chosen):
            sender = threading.Thread(target=send_bomb, args=(campaign, server, name, content))
            sender.start()
            while sender.is_alive():
                check_health(campaign, server, f"during {name}")
                campaign.largest("MB", server.megabytes())
                time.sleep(0.1)
            sender.join()
        if campaign.limits.get("MB", 0) > MAX_MEGABYTES:
            campaign.fail("over limit", "bombs", f"{campaign.limits['MB']:.0f} MB")
        end(campaign, server, "bombs", signal.SIGINT)


def send_bomb(campaign, server, name, content):
    campaign.tried("bombs")
    try:
        status, seconds = server.ask("POST", "/api/predict", content)
    except (OSError, http.client.HTTPException) as error:
        campaign.fail("lost", name, f"no answer: {error!r}")
        return
    campaign.largest("seconds to a bomb", seconds)
    if status not in HEALTHY or seconds > BOMB_SECONDS:
        campaign.fail("over limit", name, f"status {status} in {seconds:.1f} s")


@LONG_ONLY
def test_server_with_many_connections(campaign, colour_run):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))  # the server inherits it
    try:
        with serving(colour_run) as server:
            connections = [server.connect() for _ in range(campaign.size(300, 1000, 2000))]
            campaign.tried("connections", len(connections))
            for connection in connections[::2]:
                connection.sendall(b"GET / HTTP/1.1\r\n")
            status, seconds = server.ask("GET", "/healthz")
            if status not in (200, 503) or seconds > HEALTH_SECONDS:
                campaign.fail("over limit", "among the connections", f"status {status} in {seconds:.1f} s")
            for connection in connections:
                connection.close()
            time.sleep(0.5)
            check_health(campaign, server, "after the connections")
            end(campaign, server, "connections", signal.SIGTERM)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@LONG_ONLY
def test_server_under_load(campaign, colour_run):
    with serving(colour_run) as server:
        statuses = load(server, seconds=campaign.size(3, 10, 60))
        campaign.tried("requests under load", len(statuses))
        wrong = [status for status in statuses if status != 200]
        if wrong:
            campaign.fail(
                "lost", "load", f"{len(wrong)} of {len(statuses)} answers: {sorted(set(map(str, wrong)))[:5]}"
            )
        campaign.largest("MB", server.megabytes())


def load(server, seconds):
    """Ask from eight threads; returns the statuses, and errors in place of those that never came."""
    files, statuses, until = pictures(16), [], time.monotonic() + seconds

    def ask(number):
        while time.monotonic() < until:
            path = "/api/predict?explain=true" if number % 4 == 0 else "/api/predict"
            try:
                statuses.append(server.ask("POST", path, files[number])[0])
            except (OSError, http.client.HTTPException) as error:
                statuses.append(repr(error))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_server_stops_under_load(campaign, colour_run):
    """Whatever it does: requests, uploads that never end, bombs that are being decoded."""
    busy = [content for name, content in bombs().items() if name in ("jpeg-thousands-of-scans", "webp-large")]
    for number in range(campaign.size(1, 2, 20)):
        which = (signal.SIGINT, signal.SIGTERM)[number % 2]
        with serving(colour_run) as server:
            threads = [threading.Thread(target=load, args=(server, 2.0))]
            threads += [threading.Thread(target=quiet, args=(server, content)) for content in busy * 3]
            for thread in threads:
                thread.start()
            uploads = [broken_socket(server, random.Random(number)) for _ in range(20)]
            time.sleep(campaign.random(number).uniform(0.2, 1.5))
            end(campaign, server, f"stop {number} by {which.name}", which)
            for connection in uploads:
                connection.close()
            for thread in threads:
                thread.join()


def quiet(server, content):
    with suppress(OSError, http.client.HTTPException):  # it was stopped
        server.ask("POST", "/api/predict", content)


def end(campaign, server, case, number):
    """Stop it: within 3 seconds, with its processes, and at most one line."""
    code, err, seconds, left = server.stop(number)
    campaign.tried("stops")
    campaign.largest("seconds to stop", seconds)
    if seconds > STOP_SECONDS or left:
        campaign.fail("over limit", case, f"{seconds:.1f} s, {len(left)} processes are there still")
    if "Traceback" in err or err.count("\n") > 1 or code not in (130, -signal.SIGTERM, 143, 0):
        campaign.fail("traceback", case, f"exit {code}: {err.strip()[-300:]}")
