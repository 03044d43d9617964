"""The path of a stranger: each command stood in the output of the one before, and is typed as it is."""

import os
import re
import shlex
import signal
import subprocess
import sys
from http.client import HTTPConnection

import numpy as np
import pytest
from PIL import Image

FIRST = (
    "kilnet train 'my photos' --epochs 2 --image-size 16 --device cpu --set c1=4 --set c2=8 --set l1=16 "
    "--set hardware.threads=1 --set precision=fp32 --set layout=contiguous"
)
ONE_RUN = ("evaluate", "report", "inspect", "runs")


@pytest.fixture
def shell(tmp_path):
    """A fresh folder whose name has a space, with pictures in one, and a shell that knows `kilnet`."""
    folder = tmp_path / "a fresh folder"
    random = np.random.default_rng(0)
    for channel, name in enumerate(("red ones", "green", "blue")):
        (folder / "my photos" / name).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 200, (20, 24, 3), np.uint8)
            pixels[:, :, channel] += 40
            Image.fromarray(pixels).save(folder / "my photos" / name / f"picture {number}.png")
    program = tmp_path / "bin" / "kilnet"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m kilnet "$@"\n')
    program.chmod(0o755)
    return {
        "cwd": folder,
        "env": os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "80"},
    }


def typed(line, shell):
    """Type a line; return what it printed, and the command that it names last."""
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, **shell)
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.splitlines()
    assert last.startswith("next: kilnet "), done.stdout
    return done.stdout, last.removeprefix("next: ")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_command_stood_in_the_output_of_the_one_before(shell):
    printed, following = typed(FIRST, shell)
    for verb in (*ONE_RUN, "finetune", *ONE_RUN, "compare", "predict"):
        assert following.startswith(f"kilnet {verb} "), printed
        command = following.replace("--budget 5m", "--epochs 1")  # nobody waits five minutes here
        printed, following = typed(command, shell)
        if verb == "report":
            path = re.search(r"^(.*report\.html), .*: open it in a browser$", printed, re.MULTILINE)[1]
            page = shell["cwd"] / path
            assert "my photos" in page.read_text(encoding="utf-8")
        if verb == "inspect":
            confused = re.search(r"^most confused: .* taken for .*: (.*\.png)$", printed, re.MULTILINE)
            if confused:
                with Image.open(shell["cwd"] / confused[1]) as pictures:
                    assert pictures.width > 50
    assert "picture 0.png" in printed
    assert following.startswith("kilnet serve ")
    serving = ["/bin/sh", "-c", f"exec {following} --port 0"]
    with subprocess.Popen(serving, text=True, stdout=subprocess.PIPE, **shell) as server:
        address = re.match(r"http://([\w.:]+)/ ", server.stdout.readline())[1]
        connection = HTTPConnection(address, timeout=30)
        connection.request("GET", "/")
        assert b"Choose pictures" in connection.getresponse().read()
        connection.close()
        server.send_signal(signal.SIGTERM)
