"""The web page as users get it: ``scripts/app.py`` in a process of its own, on a free port."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
END = 30  # seconds that a server may take to end
# Notes every host outside this computer that the server asks for.
WATCH = """
import os, sys
def note(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host)
    if host not in ("127.0.0.1", "::1", "localhost", "None"):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(host + "\\n")
sys.addaudithook(note)
"""


@dataclass(frozen=True)
class Server:
    """A running page.

    Attributes:
        folder: the current folder of its process, with ``output``.
        system: its system's folder for temporary files.
    """

    url: str
    folder: Path
    system: Path
    process: subprocess.Popen

    def asked(self) -> list[str]:
        """Return the other hosts that it asked for."""
        watched = self.folder / "watched"
        return watched.read_text().split() if watched.exists() else []

    def stop(self, number: int = signal.SIGINT) -> set[str]:
        """End the server and return what is left in its output folder; elsewhere, nothing may be left."""
        assert any((self.folder / "output/temporary").iterdir())
        self.process.send_signal(number)
        assert self.process.wait(END) == 0
        assert not any(self.system.iterdir())
        return {path.name for path in (self.folder / "output").iterdir()}


@contextmanager
def started(folder: Path, *keys: str) -> Iterator[Server]:
    system = folder / "system"
    system.mkdir()
    (folder / "sitecustomize.py").write_text(WATCH)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "WATCHED": str(folder / "watched"),
        "TMPDIR": str(system),
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "scripts" / "app.py"), f"port={port}", "open_browser=false", "output=output"]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [*command, *keys], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + (folder / "log").read_text()
        yield Server(found[0], folder, system, process)
    finally:
        process.kill()
        process.wait()
