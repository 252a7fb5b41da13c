"""What a browser may ask of a scene, as a Starlette application. Only numbers and looks come from it, never a path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from unet_deploy.errors import UnetDeployError, UsageError
from unet_deploy.system.machine import usable_cores
from unet_deploy.tiling import Region
from unet_deploy.viewing.described import (
    describe_progress,
    describe_scene,
    describe_table,
    described_row,
    described_rows,
    plain,
)
from unet_deploy.viewing.guard import Guard
from unet_deploy.viewing.lanes import Busy, Lanes, Left
from unet_deploy.viewing.look import look_of, order_of
from unet_deploy.viewing.scene import Place, Scene

MOST_WAITING = 64
"""Requests that wait while others are answered; a browser asks again for what is refused beyond."""
_PAGE = Path(__file__).with_name("page")
_ASSETS = frozenset(each.name for each in _PAGE.iterdir() if each.suffix != ".html")
_KEPT = {"cache-control": "private, max-age=3600"}
_NOT_KEPT = {"cache-control": "no-store"}

Answer = TypeVar("Answer")


def application(scene: Scene, token: str, host: str = "127.0.0.1") -> Guard:
    """Return the application that shows a scene to who knows the token. host: the name that it is served under."""
    asked = _Asked(scene)
    routes = [
        Route("/", _index),
        Route("/page/{name}", _asset),
        Route("/scene", asked.scene),
        Route("/progress", asked.progress),
        Route("/shades/{file:int}/{page:int}", asked.shades),
        Route("/values/{page:int}/{y:int}/{x:int}", asked.values),
        Route("/table", asked.table),
        Route("/rows/{order}/{first:int}", asked.rows),
        Route("/row/{order}/{row:int}", asked.row),
        Route("/object/{order}/{page:int}/{y:int}/{x:int}", asked.object_at),
        Route("/counts/{page:int}", asked.counts),
        Route("/region/{y:int}/{x:int}/{height:int}/{width:int}", asked.region),
        Route("/tile/{file:int}/{page:int}/{zoom:int}/{column:int}/{row:int}/{look}", asked.tile),
    ]
    errors: dict[Any, Any] = {UsageError: _not_there, UnetDeployError: _failed, Busy: _busy, Left: _left}
    app = Starlette(routes=routes, exception_handlers=errors, lifespan=asked.lifespan)
    return Guard(app, token, host)


class _Asked:
    """The answers, each a function of a request."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._lanes = Lanes(min(4, usable_cores()), MOST_WAITING)

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        yield
        self._lanes.close()

    async def scene(self, request: Request) -> Response:
        """The files, from below to above."""
        return JSONResponse(describe_scene(self._scene), headers=_NOT_KEPT)

    async def progress(self, request: Request) -> Response:
        """How far overviews are."""
        return JSONResponse(describe_progress(self._scene), headers=_NOT_KEPT)

    async def shades(self, request: Request) -> Response:
        """How the channels of a page of an image are best shown, as a look and one by one."""
        at = request.path_params
        shades = await self._do(request, lambda: self._scene.shades(at["file"], at["page"]))
        answer = {"look": look_of(shades), "shades": [asdict(shade) for shade in shades]}
        return JSONResponse(answer, headers=_KEPT)

    async def values(self, request: Request) -> Response:
        """The stored numbers of each file under a pixel of the first; those that are no JSON numbers as words."""
        at = request.path_params
        found = await self._do(request, lambda: self._scene.values(at["page"], at["y"], at["x"]))
        return _json(found)

    async def table(self, request: Request) -> Response:
        """What the table of objects is, and whether it is read by now."""
        return JSONResponse(await self._do(request, lambda: describe_table(self._scene)), headers=_NOT_KEPT)

    async def rows(self, request: Request) -> Response:
        """Some rows of the table in an order, each with its number in the file."""
        order, first = order_of(request.path_params["order"]), request.path_params["first"]
        return _json(await self._do(request, lambda: described_rows(self._scene, order, first)))

    async def row(self, request: Request) -> Response:
        """A row of the table: where it is in an order, and where its object lies."""
        order, row = order_of(request.path_params["order"]), request.path_params["row"]
        return _json(await self._do(request, lambda: described_row(self._scene, order, row)))

    async def object_at(self, request: Request) -> Response:
        """The same of the object under a pixel; null where there is none."""
        at, order = request.path_params, order_of(request.path_params["order"])

        def found() -> dict[str, Any] | None:
            row = self._scene.row_at(at["page"], at["y"], at["x"])
            return None if row is None else described_row(self._scene, order, row)

        return _json(await self._do(request, found))

    async def counts(self, request: Request) -> Response:
        """How many pixels two masks differ in, as far as that is counted."""
        counts = await self._do(request, lambda: self._scene.counts(request.path_params["page"]))
        return JSONResponse(asdict(counts), headers=_NOT_KEPT)

    async def region(self, request: Request) -> Response:
        """A region that was drawn as `segment --roi` takes it."""
        region = self._scene.stored(Region(**request.path_params))
        return JSONResponse(f"{region.y},{region.x},{region.height},{region.width}", headers=_NOT_KEPT)

    async def tile(self, request: Request) -> Response:
        at = request.path_params
        place = Place(at["page"], at["zoom"], at["column"], at["row"])
        picture = await self._do(request, lambda: self._scene.tile(at["file"], place, at["look"]))
        headers = _KEPT if picture.is_final else _NOT_KEPT
        return Response(picture.data, media_type="image/png", headers=headers)

    async def _do(self, request: Request, work: Callable[[], Answer]) -> Answer:
        return await self._lanes.do(work, request.is_disconnected)


async def _index(request: Request) -> Response:
    return FileResponse(_PAGE / "index.html", headers=_NOT_KEPT)


async def _asset(request: Request) -> Response:
    """A file of the page, of those that it is made of; the name leads nowhere else."""
    name = request.path_params["name"]
    if name not in _ASSETS:
        raise UsageError("the page has no such file")
    return FileResponse(_PAGE / name, headers=_NOT_KEPT)


def _json(values: Any) -> Response:
    return JSONResponse(plain(values), headers=_KEPT)


async def _not_there(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 404, _NOT_KEPT)


async def _failed(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 500, _NOT_KEPT)


async def _busy(request: Request, error: Exception) -> Response:
    return PlainTextResponse("busy; ask again", 503, {**_NOT_KEPT, "retry-after": "1"})


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=204, headers=_NOT_KEPT)
