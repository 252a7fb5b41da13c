"""Who is let in: those who know the token, by a name that no stranger's page can take.

A page of a stranger may ask this server for anything, in the browser of whoever looks at it. It does not know the
token, which changes with each start; and where it makes its own name lead here (DNS rebinding), the browser says so.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""Of every answer: nothing is loaded from anywhere else, and nobody else may load it."""
_ELSEWHERE = 307
MOST_PATH = 4096
"""Letters of a path: those of the page have a few hundred."""


class Guard:
    """Answers 403 to foreign names, 404 without the token, and 405 to what is no question; the rest is for `app`.

    The token is the first part of the path, and `app` sees what follows it; an address without its last / leads to the
    page as well. host: the name that the server was given.
    """

    def __init__(self, app: App, token: str, host: str) -> None:
        self._app, self._token, self._host = app, token.encode(), host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refused = self._refusal(scope)
        if refused:
            there = [(b"location", self._token + b"/")] if refused == _ELSEWHERE else []
            await _refuse(refused, send, *there)
            return
        await self._app(dict(scope, root_path=f"/{self._token.decode()}"), receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> int:
        """The status that a request is refused with; 0 where it is let in."""
        names = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(names) != 1 or not is_own_name(names[0], self._host):
            return 403
        given, _, rest = scope["path"].encode("utf-8", "replace").removeprefix(b"/").partition(b"/")
        if not hmac.compare_digest(given, self._token):
            return 404
        if len(rest) > MOST_PATH:
            return 414
        if scope["method"] not in ("GET", "HEAD"):
            return 405
        return 0 if rest or scope["path"].endswith("/") else _ELSEWHERE


def is_own_name(given: str, host: str) -> bool:
    """Whether a browser that says this Host means this machine: by a number, as localhost, or by the server's own name.

    Ports are not compared: they differ where a tunnel leads here.

    >>> [is_own_name(given, "lab.example") for given in ("127.0.0.1:8", "[::1]:8", "LOCALHOST", "lab.example:80")]
    [True, True, True, True]
    >>> is_own_name("evil.example:8", "127.0.0.1"), is_own_name("", "127.0.0.1"), is_own_name("127.0.0.1.evil", "::1")
    (False, False, False)
    """
    if given.startswith("["):
        name, _, after = given[1:].partition("]")
    else:
        name, _, after = given.partition(":")
        after = f":{after}" if after else ""
    if after and not (after[0] == ":" and after[1:].isascii() and after[1:].isdigit()):
        return False
    if name.lower() in ("localhost", host.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _refuse(status: int, send: Send, *more: tuple[bytes, bytes]) -> None:
    """Answer with a status and nothing but headers."""
    headers = [*HEADERS, (b"content-length", b"0"), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: Send) -> Send:
    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = dict(message, headers=[*message.get("headers", ()), *HEADERS])
        await send(message)

    return send_on
