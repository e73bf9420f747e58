"""Show the page: a server for this computer alone, unless told otherwise, that leaves no file behind."""

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siftvton.app.uploads import MEGABYTE
from siftvton.errors import UsageError, first_line

if TYPE_CHECKING:
    from gradio import Blocks

TEMPORARY = "temporary"  # folder below the output
MOST_VISITORS = 20  # whose pictures stay in memory; a visit ends when the browser closes the page
PORTS = range(7860, 7960)  # as Gradio
# Only this server's own files, and what the page makes itself; so the browser asks no other host for anything.
POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"


@contextmanager
def temporary_files(output: Path) -> Iterator[Path]:
    """Let Gradio and this process keep temporary files below ``output``, and remove them at the end.

    What a killed server left there is removed at the start. Enter this before Gradio is imported, since it reads its
    folder's name then.
    """
    folder = (output / TEMPORARY).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before, variable = tempfile.tempdir, "GRADIO_TEMP_DIR"
    tempfile.tempdir, os.environ[variable] = str(folder), str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        del os.environ[variable]
        shutil.rmtree(folder, ignore_errors=True)


def free_port(host: str, port: int | None) -> int:
    """Return the port if a server can listen there; None: the first one that is free, from 7860.

    Raises:
        UsageError: a server cannot listen there.
    """
    for each in PORTS if port is None else (port,):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, each, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return each
        except OSError as error:
            reason = first_line(error)
    raise UsageError(f"host={host} port={each}: no server can listen there ({reason}); use another port or host")


def serve(page: "Blocks", host: str, port: int, megabytes: int, open_browser: bool) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        host: the address to listen on.
        megabytes: the largest upload.
        open_browser: also open the page in the default browser.
    """
    from starlette.middleware import Middleware

    from siftvton.app.page import STYLE, THEME

    ended = threading.Event()
    # Also for Ctrl-C: a server in the background of a shell ignores that signal unless it has a handler.
    before = {
        number: signal.signal(number, lambda number, frame: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            inline=False,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            state_session_capacity=MOST_VISITORS,
            max_file_size=megabytes * MEGABYTE,
            theme=THEME,
            css_paths=STYLE,
            app_kwargs={"middleware": [Middleware(OwnHostOnly)]},
        )
        print(f"The page is at {url} (Ctrl-C ends it)", flush=True)
        ended.wait()
    finally:
        page.close(verbose=False)
        for number, handler in before.items():
            signal.signal(number, handler)


class OwnHostOnly:
    """ASGI middleware that forbids the browser to load anything from another host."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", POLICY)]
            await send(message)

        await self.app(scope, receive, send_with_policy)
