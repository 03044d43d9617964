"""A PostgreSQL server of a test's own, in a temporary folder and on a free port."""

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest


class PostgresqlServer:
    """Use it as a context manager: it runs within, and is gone without a trace afterwards.

    PostgreSQL refuses to be root, who therefore runs it as the user that Debian's package makes.
    """

    def __init__(self):
        self._bin = _binaries()
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._port = _free_port()
        self.url = f"postgresql://kilnet:secret@127.0.0.1:{self._port}/postgres"

    def __enter__(self):
        self._folder = Path(tempfile.mkdtemp(prefix="kilnet-postgresql-"))
        shutil.chown(self._folder, self._user)
        password = self._folder / "password"
        password.write_text("secret")
        shutil.chown(password, self._user)
        words = ["--username=kilnet", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync"]
        self._call("initdb", *words, "--locale=C", "--encoding=UTF8")
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self._folder)

    def start(self):
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._call("pg_ctl", f"--options={options}", f"--log={self._folder / 'log'}", "--wait", "start")

    def stop(self):
        """Cut all connections and stop."""
        self._call("pg_ctl", "--mode=fast", "--wait", "stop")

    def _call(self, program, *words):
        words = [str(self._bin / program), f"--pgdata={self._folder / 'data'}", *words]
        if os.geteuid() == 0:
            words = ["runuser", "-u", self._user, "--", *words]
        done = subprocess.run(
            words, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
        )
        log = self._folder / "log"
        assert done.returncode == 0, log.read_text() if log.exists() else words


def _free_port():
    """Return a port that no client gets while the server is stopped, as it may get those from 32768."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def _binaries():
    """Return the folder of PostgreSQL's programs, which Debian does not put on the path."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    pytest.skip("needs PostgreSQL")
