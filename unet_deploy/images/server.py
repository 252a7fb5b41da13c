"""Zarr behind a URL: servers that do not answer, or not this time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, WrapperStore

from unet_deploy.images.state import evenly

TRIES = 3
"""How often a value is asked for before its server is given up."""

PAUSE = 0.5
"""Seconds before the second try; twice as many before each further one."""

LONGEST = 300.0
"""Seconds that one value may take however steadily it comes."""

_AGAIN = (408, 429)
"""Answers that say to ask again later, besides all from 500 on (RFC 9110, 15.5 and 15.6; RFC 6585, 4)."""

_TAGS = ("ETag", "etag", "Content-MD5", "md5Hash", "content_md5", "Digest")
"""What servers call a mark of the very bytes of a value."""

_TIMES = ("Last-Modified", "LastModified", "updated", "last_modified", "mtime", "size")
"""What tells most changes: times of whole seconds may miss the second of two."""

MOST_CONTENTS = 16
"""Values that are read again where a server gives no mark of their bytes."""

Value = TypeVar("Value")


def open_url(url: str, timeout: float) -> Store:
    """Open a store behind a URL. timeout: seconds without a byte after which a try ends."""
    options: dict[str, Any] = {}
    if url.startswith(("http://", "https://")):
        import aiohttp

        silence = aiohttp.ClientTimeout(total=LONGEST, connect=timeout, sock_connect=timeout, sock_read=timeout)
        options = {"client_kwargs": {"timeout": silence}}
    return PatientStore(FsspecStore.from_url(url, storage_options=options, read_only=True))


class PatientStore(WrapperStore[Store]):
    """Asks again where a server was too busy, hung up or did not answer in time; at most TRIES times in all."""

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        return await _asked(lambda: super(PatientStore, self).get(key, prototype, byte_range))

    async def exists(self, key: str) -> bool:
        return await _asked(lambda: super(PatientStore, self).exists(key))

    def state_of(self, keys: Sequence[str]) -> list[str]:
        """What changes when values do, asked without reading them but for a few whose server gives no mark of them."""
        return sync(self._states(keys))

    async def _states(self, keys: Sequence[str]) -> list[str]:
        said = await asyncio.gather(*(_asked(partial(self._say, key)) for key in keys))
        untagged = [key for key, each in zip(keys, said, strict=True) if each and not any(map(each.get, _TAGS))]
        chosen = [untagged[at] for at in evenly(len(untagged), MOST_CONTENTS)]
        contents = await asyncio.gather(*(self.get(key, default_buffer_prototype()) for key in chosen))
        states = [" ".join(str(each.get(name)) for name in (*_TAGS, *_TIMES)) for each in said]
        return states + [sha256(each.to_bytes() if each else b"").hexdigest() for each in contents]

    async def _say(self, key: str) -> dict[str, Any]:
        """What a server says of a value; nothing where there is none."""
        store: Any = self._store
        try:
            return await store.fs._info(f"{store.path.rstrip('/')}/{key}")
        except FileNotFoundError as error:  # fsspec's word for every answer that is none
            if isinstance(error.__cause__, Exception) and is_passing(error.__cause__):
                raise error.__cause__ from None
            return {}


async def _asked(ask: Callable[[], Awaitable[Value]]) -> Value:
    """Ask until there is an answer. Raises TimeoutError where there was none, and what the last try raised."""
    for before in range(TRIES):
        try:
            return await asyncio.wait_for(ask(), LONGEST)
        except Exception as error:
            if not is_passing(error):
                raise
            if before == TRIES - 1:
                raise _in_words(error) from error
        await asyncio.sleep(PAUSE * 2**before)
    raise AssertionError


def is_passing(error: Exception) -> bool:
    """Return whether what went wrong may go well the next time: busy servers, silence, and hang-ups."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in _AGAIN or status >= 500
    hung_up = type(error).__name__ in ("ServerDisconnectedError", "ClientPayloadError", "ClientOSError")
    return hung_up or isinstance(error, TimeoutError | asyncio.TimeoutError | ConnectionResetError | BrokenPipeError)


def _in_words(error: Exception) -> OSError:
    """Return an error that says what a server did, without its address, which the image's error names."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return OSError(f"the server answered {status}, {TRIES} times")
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return OSError(f"the server did not answer in time, {TRIES} times; give it more with --timeout")
    return OSError(f"the server hung up, {TRIES} times")
