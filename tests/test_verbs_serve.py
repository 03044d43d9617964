"""The verb that serves a run: what it refuses in one line."""

import socket
import sys

import pytest

from kilnet import cli


@pytest.fixture
def refusal(monkeypatch, capfd, colour_run):
    """Start the command line in this process with a mistake: exit code and what it says."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kilnet", "serve", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        out, err = capfd.readouterr()
        assert out == ""
        return done.value.code, err

    return call


def test_port_in_use_is_one_line(refusal, colour_run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"kilnet: port {port} is in use; give another --port, or 0 for a free one\n"
        assert refusal(colour_run, "--port", port) == (1, message)


def test_what_cannot_be_served_is_one_line(refusal, colour_run, tmp_path, monkeypatch):
    code, err = refusal(colour_run, "--port", 70000)
    assert (code, err) == (2, "kilnet: --port 70000: ports are 0 to 65535\n")
    code, err = refusal(tmp_path / "none", "--port", 0)
    assert (code, err) == (2, f"kilnet: {tmp_path / 'none'}: no such run folder\n")
    for name in [name for name in sys.modules if name.startswith("kilnet.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, err = refusal(colour_run)
    assert (code, err.count("\n")) == (1, 1)
    assert "pip install 'kilnet[serve]'" in err
