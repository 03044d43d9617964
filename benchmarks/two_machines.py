"""Two machines on one: a Ray cluster in two network namespaces with processes and temporary files of their own.

    python benchmarks/two_machines.py                       # the tutorial's grid on the digits; bytes are counted
    python benchmarks/two_machines.py --faults --minutes 15  # kills and cuts, over and over; every third search has
                                                            # the first machine alone, without cuts

Needs Linux, root, iproute2, and Ray. Each machine is a network namespace at the end of one veth pair, with process
numbers, /tmp, /dev/shm and a cache folder of its own. The first has Ray's head and the search, and both train.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path

from kilnet.training.run_folder import RunFolder

PORT = 6379
IP = shutil.which("ip") or "ip"
# Where each machine has a file system of its own.
SEARCH, LOG, CACHE = "/tmp/search", "/tmp/search.log", "/tmp/cache"  # noqa: S108
MOST_FAULTS = 8  # in one search, which then ends
SECONDS_UNTIL_STUCK = 300.0
HEAD, NODE = "10.77.0.1", "10.77.0.2"
SETTINGS = {
    "hardware.threads": 1,
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
    "hardware.device": "cpu",
}
SMALL = {"model.c2": 8, "model.l1": 16, "training.batch_size": 64, "data.num_train": 600}
SMALL_SPACE = ["model.c1=4,8", "model.d1=0,0.1"]
# What is done, the more often the more often it stands here; with one machine, and with two.
FAULTS_OF_ONE, FAULTS = (
    ["worker", "driver"],
    ["worker", "worker", "node", "driver", "cut", "cut"],
)
# Random pictures, so that what crosses is theirs: trials of one epoch of a tiny network.
LARGE = """
import kilnet, numpy as np
random = np.random.default_rng(0)
images = random.integers(0, 256, (10_000, 32, 32, 3), np.uint8)
settings = {"model.c1": 1, "model.c2": 1, "model.l1": 4, "training.batch_size": 500, "hardware.threads": 1,
    "hardware.precision": "fp32", "hardware.layout": "contiguous"}
kilnet.HyperSearch((images, np.arange(10_000) % 2), {"optimizer.lr": [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]},
    settings=settings, epochs=1, device="cpu", seeds=0, workers=1, out="/tmp/search", cluster="10.77.0.1:6379",
    progress=False).optimize()
"""


class Machine:
    """A machine of the pair: a network namespace, and a first process with namespaces for the rest."""

    def __init__(self, name, address):
        self.name, self.address = name, address

    def boot(self):
        """Begin the machine's first process, with which all others of it end."""
        mounts = (
            "mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm && echo up && exec sleep infinity"
        )
        words = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", mounts]
        self.shell = subprocess.Popen(
            [IP, "netns", "exec", self.name, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self.shell.stdout.readline() != "up\n":
            sys.exit(f"{self.name}: the system gives no namespaces of its own")
        children = Path(f"/proc/{self.shell.pid}/task/{self.shell.pid}/children").read_text().split()
        self.first = int(children[0])

    def path(self, path):
        """Return where others find a path of the machine."""
        return Path(f"/proc/{self.first}/root{path}")

    def words(self, *words):
        return ["nsenter", f"--target={self.first}", "--net", "--mount", "--pid", *map(str, words)]

    def call(self, *words, **options):
        return subprocess.run(
            self.words(*words), capture_output=True, text=True, env=environment(), **options
        )

    def start_ray(self):
        """Start Ray as a person would, with one CPU."""
        where = ["--head", "--port", PORT] if self.address == HEAD else ["--address", f"{HEAD}:{PORT}"]
        words = ["ray", "start", *where, "--node-ip-address", self.address, "--num-cpus", 1]
        words += ["--disable-usage-stats", "--object-store-memory", 200 << 20]
        words += ["--include-dashboard", "false"] if self.address == HEAD else []
        found = self.call(sys.executable, "-m", "ray.scripts.scripts", *words[1:])
        if found.returncode:
            raise OSError(found.stdout + found.stderr)

    def kill(self):
        """Take the power away."""
        os.kill(self.first, signal.SIGKILL)
        self.shell.wait()
        self.shell.stdout.close()

    def processes(self, word):
        """Return the processes whose command line has a word, by their numbers outside."""
        own = Path(f"/proc/{self.first}/ns/pid").stat().st_ino
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (path / "ns/pid").stat().st_ino == own and word in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
        return found

    def received_bytes(self):
        """Return how many bytes have come over the cable."""
        words = [IP, "-netns", self.name, "-json", "-statistics", "link", "show", "dev", "veth0"]
        return json.loads(subprocess.check_output(words))[0]["stats64"]["rx"]["bytes"]

    def has_ray(self):
        return bool(self.processes(b"raylet/raylet"))


def environment():
    own = {"XDG_CACHE_HOME": CACHE, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    own |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 64,
    }  # else Ray keeps one at home, which both share
    return {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "TMPDIR")} | own


def ip(*words, check=True):
    subprocess.run([IP, *words], check=check, stderr=None if check else subprocess.DEVNULL)


def connect(first, second):
    for machine in (first, second):
        ip("netns", "add", machine.name)
        ip("-netns", machine.name, "link", "set", "lo", "up")
    ip(
        "link",
        "add",
        "veth0",
        "netns",
        first.name,
        "type",
        "veth",
        "peer",
        "name",
        "veth0",
        "netns",
        second.name,
    )
    for machine in (first, second):
        ip("-netns", machine.name, "address", "add", f"{machine.address}/24", "dev", "veth0")
        ip("-netns", machine.name, "link", "set", "veth0", "up")


def tune_words(out, settings, space=(), cluster=True, epochs=6):
    words = [sys.executable, "-m", "kilnet", "tune", "digits", "--recipe", "digits", "--out", out]
    words += ["--epochs", epochs, "--workers", 1, "--finalists", 1, "--seeds", 1]
    for key, value in (SETTINGS | settings).items():
        words += ["--set", f"{key}={value}"]
    for word in space:
        words += ["--space", word]
    return [*words, *(["--cluster", f"{HEAD}:{PORT}"] if cluster else [])]


def table(folder):
    """Return what a search has found without what the clock writes, its epochs, and the bytes of its weights."""
    with (folder / "search.csv").open(newline="") as file:
        rows = [
            {key: cell for key, cell in row.items() if key not in ("seconds", "reason")}
            for row in csv.DictReader(file)
        ]
    runs = sorted([*(folder / "trials").iterdir(), *(folder / "finalists").iterdir()])
    epochs = [[record.epoch for record in RunFolder(run).history()] for run in runs]
    return rows, epochs, [file.read_bytes() for file in sorted(folder.rglob("weights.safetensors"))]


def grid(head, node):
    """Compare the tutorial's grid on two machines with that on one, and count what crosses."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        words = tune_words(f"{folder}/one", {}, ["tutorial"], False)
        subprocess.run(list(map(str, words)), check=True, capture_output=True)
        print(f"one machine: {time.monotonic() - began:.0f} s")
        before, began = node.received_bytes(), time.monotonic()
        found = head.call(*tune_words(SEARCH, {}, ["tutorial"]))
        print(found.stderr, f"two machines: {time.monotonic() - began:.0f} s", sep="")
        print(f"the second received {(node.received_bytes() - before) / 1e6:.2f} MB, of all kinds")
        is_same = table(head.path(SEARCH)) == table(Path(folder, "one"))
        print("table, epochs and weights:", "the same" if is_same else "DIFFERENT")
    head.call("rm", "-rf", SEARCH)
    before = node.received_bytes()
    head.call(sys.executable, "-c", LARGE, check=True)
    images = 10_000 * 32 * 32 * 3 / 1e6
    received = (node.received_bytes() - before) / 1e6
    print(f"10,000 pictures ({images:.1f} MB), 6 trials: the second received {received:.1f} MB")


def cut(node, seconds):
    ip("-netns", node.name, "link", "set", "veth0", "down")
    time.sleep(seconds)
    ip("-netns", node.name, "link", "set", "veth0", "up")


def inflict(kind, head, node, search, chance):
    """Do one thing to the cluster; return the search, which may be another then."""
    if kind == "worker":
        workers = [pid for m in (head, node) for pid in m.processes(b"kilnet.tuning.backends.worker")]
        if not workers:
            return search, False
        with suppress(ProcessLookupError):
            os.kill(chance.choice(workers), signal.SIGKILL)
    elif kind == "node":
        node.kill()
        node.boot()
        node.start_ray()
    elif kind == "driver":
        for pid in head.processes(b"kilnet\0tune"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        search.wait()
        return begin(head), True
    elif kind == "cut":
        cut(node, chance.uniform(5, 60))
    return search, True


def begin(head):
    log = head.path(LOG).open("a")
    with log:
        words = head.words(*tune_words(SEARCH, SMALL, SMALL_SPACE))
        return subprocess.Popen(words, stdout=log, stderr=log, env=environment())


def faults(head, node, minutes, seed):
    """Break something every few seconds of one search after another, and compare each with one that was left alone."""
    chance, counts, outcomes = random.Random(seed), Counter(), Counter()  # noqa: S311
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        words = tune_words(f"{folder}/one", SMALL, SMALL_SPACE, False)
        subprocess.run(list(map(str, words)), check=True, capture_output=True)
        expected = table(Path(folder, "one"))
    for number in count():
        if time.monotonic() > end:
            return
        is_alone = number % 3 == 2
        if is_alone:
            stop_ray(node)
        elif not node.has_ray():
            node.start_ray()
        for path in (SEARCH, LOG):
            head.call("rm", "-rf", path)
        search, last = begin(head), time.monotonic()
        num_left = MOST_FAULTS
        while search.poll() is None and time.monotonic() - last < SECONDS_UNTIL_STUCK:
            time.sleep(chance.uniform(4, 15) if num_left else 1)
            if time.monotonic() > end or search.poll() is not None or not num_left:
                continue  # from here on the search is left alone
            num_left -= 1
            kind = chance.choice(FAULTS_OF_ONE if is_alone else FAULTS)
            search, was_done = inflict(kind, head, node, search, chance)
            counts[f"{kind}, one machine" if is_alone else kind] += was_done
            if not is_alone and not node.has_ray():
                stop_ray(node)  # Ray leaves a machine that was away for long; a service would start it again
                node.start_ray()
                counts["Ray left the machine"] += kind == "cut"
            last = time.monotonic()
        outcome = judge(search, head.path(SEARCH), expected)
        outcomes[outcome] += 1
        print(f"{outcome}; so far {dict(counts)}, searches {dict(outcomes)}", flush=True)
        if outcome != "the same":
            print(head.path(LOG).read_text())
            kept = Path(tempfile.mkdtemp(prefix="two-machines-"))
            shutil.copytree(head.path(SEARCH), kept / "search")
            print("kept in", kept)
            search.kill()
            search.wait()


def stop_ray(machine):
    machine.call(sys.executable, "-m", "ray.scripts.scripts", "stop", "--force")


def judge(search, folder, expected):
    if search.poll() is None:
        return "stuck"
    if search.returncode:
        return f"ended with {search.returncode}"
    rows, epochs, weights = table(folder)
    if any(numbers != list(range(1, len(numbers) + 1)) for numbers in epochs):
        return "an epoch is lost or doubled"
    if len(rows) != len(expected[0]):
        return "a trial is lost or doubled"
    return "the same" if (rows, epochs, weights) == expected else "different"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", action="store_true", help="kill and cut instead of counting bytes")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    head, node = Machine("kilnet-1", HEAD), Machine("kilnet-2", NODE)
    try:
        connect(head, node)
        for machine in (head, node):
            machine.boot()
            machine.start_ray()
        if options.faults:
            faults(head, node, options.minutes, options.seed)
        else:
            grid(head, node)
    finally:
        for machine in (head, node):
            with suppress(AttributeError, ProcessLookupError):
                machine.kill()
            ip("netns", "delete", machine.name, check=False)


if __name__ == "__main__":
    main()
