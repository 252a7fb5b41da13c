"""A server of one scene, until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from unet_deploy.errors import UsageError
from unet_deploy.viewing.app import application
from unet_deploy.viewing.scene import Scene

LOOPBACK = "127.0.0.1"
_GRACE = 1
"""Seconds that answers may take that are being given when Ctrl-C comes."""
_MOST_AT_ONCE = 256
"""Connections, those that are kept open included; a browser has six."""


def serve(scene: Scene, ready: Callable[[str], None], *, host: str = LOOPBACK, port: int = 0) -> None:
    """Serve a scene until Ctrl-C, which is its right end and not raised.

    ready: called with the address of the page, token and all, once it may be asked for. port: 0 for any that is free.
    Raises UsageError where the host is no address of this machine, or the port is taken.
    """
    token = secrets.token_urlsafe(24)
    with _listening(host, port) as listener:
        config = uvicorn.Config(
            application(scene, token, host),
            log_level="critical",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=_GRACE,
            limit_concurrency=_MOST_AT_ONCE,
        )
        ready(f"http://{_named(listener)}/{token}/")
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once all is closed
            uvicorn.Server(config).run([listener])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections already. Raises UsageError."""
    if not 0 <= port < 1 << 16:  # getaddrinfo would take the rest of it
        raise UsageError(f"--port {port}: there are 0 to 65535; 0 for any that is free")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen()
        except OSError:
            listener.close()
            raise
    except OSError as error:
        said = error.strerror or error
        raise UsageError(f"--host {host} --port {port}: cannot be listened on ({said}); give another") from error
    return listener


def _named(listener: socket.socket) -> str:
    """The address of a socket as a browser is given it: of one that listens everywhere, this machine's own."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
