"""The model of a run, opened at the scales that its images want."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from weakref import WeakKeyDictionary

from typing_extensions import Self

from unet_deploy.errors import UsageError
from unet_deploy.model.card import ModelCard
from unet_deploy.model.metadata import peek_card
from unet_deploy.runtimes import Runtime
from unet_deploy.runtimes.request import Request
from unet_deploy.runtimes.tensorrt.record import ENGINE_SUFFIXES
from unet_deploy.segmentation.options import Options
from unet_deploy.stream.proof import without_proof
from unet_deploy.system.arguments import kind_of
from unet_deploy.system.cache import key_of
from unet_deploy.system.files import sha256_of
from unet_deploy.zoo import card_of, find_model, open_model, opened_from

KEPT_OPEN = 3
"""Runtimes at once, for images that are not alike, beside the one by which they are measured. Each holds the memory of
its weights and its tiles; with none to spare, sixty images of several laboratories took three times as long, which went
into opening the model anew."""


class Models:
    """A model file that is opened at a scale when an image first wants it. A context manager.

    model, request: as of `open_model`; the request's own scale is not looked at. open_one: opens it otherwise than
    `open_model` does. Raises ModelError where there is no such file.
    """

    def __init__(
        self, model: str | Path | None, request: Request, open_one: Callable[[Path, Request], Runtime] = open_model
    ) -> None:
        self._path, self._request, self._open = find_model(model), request, open_one
        self._opened: dict[float, Runtime] = {}
        self._looking: Runtime | None = None

    @cached_property
    def card(self) -> ModelCard:
        """That of the file, at scale 1. Raises ModelError."""
        return (peek_card(self._path) if self.rescales else None) or card_of(self._path)

    @property
    def rescales(self) -> bool:
        """Whether it can be opened at another scale: an engine has one."""
        return self._path.suffix not in ENGINE_SUFFIXES

    @cached_property
    def fingerprint(self) -> str:
        """What tells its answers, at the scale that it takes, from those of any other model."""
        file, threshold = sha256_of(self._path), self._request.threshold
        return file if threshold is None else key_of(file, threshold)

    @property
    def precision(self) -> str | None:
        """What it is asked to compute in; None where that is left open."""
        return self._request.unproved.precision

    def at(self, scale: float, *, telling: bool = False) -> Runtime:
        """The model at a scale, ready; it stays open until others are wanted. Raises as `open_model`.

        telling: whether it must give probabilities, by which objects are kept. Raises UsageError where it cannot.

        It gives probabilities too where the card says what they tell: of objects, and how far to trust the answer.
        """
        runtime = self._opened.pop(scale, None)
        if runtime is None:
            while len(self._opened) >= KEPT_OPEN:
                self._opened.pop(next(iter(self._opened))).close()
            decision = self.card.decision
            known = self.rescales and max(decision.trusted_from, decision.peak) > 0
            request = replace(self._request, scale=scale, probabilities=self._request.probabilities or known)
            runtime = self._open(self._path, request)
        self._opened[scale] = runtime
        return _checked(runtime, telling, f"{self._path}: answers with labels alone", "build it anew")

    def looking(self) -> Runtime:
        """The model at scale 1 in float32 on the processor, for pixels of any type, by which images are measured.

        So what is measured is the same whatever computes the mask. It stays open. Raises as `open_model`.
        """
        if self._looking is None:
            exact = Request(device="cpu", runtime=self._request.runtime, threshold=self._request.threshold)
            if not exact.rows("cpu"):
                exact = replace(exact, runtime="auto")
            self._looking = without_proof(self._open(self._path, exact))
        return self._looking

    def options_for(self, runtime: Runtime, options: Options) -> Options:
        """As the runtime takes them: one that was opened for a tile size, and has no other, needs not be told."""
        return replace(options, tile_size=None) if runtime.limits.hard else options

    def close(self) -> None:
        """Close it at all scales, also where memory is short: it is opened anew when it is wanted."""
        while self._opened:
            self._opened.popitem()[1].close()
        if self._looking is not None:
            self._looking.close()
            self._looking = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _checked(runtime: Runtime, telling: bool, why: str, remedy: str) -> Runtime:
    """The runtime. Raises UsageError where it is to give probabilities, and does not. why: that is."""
    if telling and not runtime.probabilities:
        raise UsageError(f"{why}, and objects are kept by their probabilities; {remedy}, or say --peak 0")
    return runtime


class Given:
    """What a caller has opened.

    others: opens it at other scales; None where it has but the one at which that was done.
    """

    def __init__(self, runtime: Runtime, others: Models | None = None) -> None:
        self._runtime, self.card, self._others = runtime, runtime.card, others

    @property
    def rescales(self) -> bool:
        return self._others is not None

    @property
    def fingerprint(self) -> str:
        return self._runtime.fingerprint

    @property
    def precision(self) -> str | None:
        return None

    def at(self, scale: float, *, telling: bool = False) -> Runtime:
        if scale == 1 and (self._others is None or self._runtime.probabilities or not telling):
            return _checked(
                self._runtime, telling, "segment: this model was opened for labels alone", "open it with these"
            )
        if self._others is None:
            raise UsageError(
                f"--scale {scale:.3g}: this model is open at a scale already; give its file, or open it with this one"
            )
        return self._others.at(scale, telling=telling)

    def looking(self) -> Runtime:
        """As of `Models`."""
        assert self._others is not None, "it has one scale, and nothing is measured for it"
        return self._others.looking()

    def options_for(self, runtime: Runtime, options: Options) -> Options:
        return options

    def close(self) -> None:
        """Close it at other scales; what the caller has opened stays open."""
        if self._others is not None:
            self._others.close()


class _Spare:
    """Of each runtime that a caller opened, its other scales between two calls.

    A call has them to itself: calls of several threads open their own, and those of one are kept for the next.
    """

    def __init__(self) -> None:
        self._spare: WeakKeyDictionary[Runtime, Models] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, runtime: Runtime) -> Iterator[Models | None]:
        """None where the runtime is an engine, was opened at a scale of its own, or by other means than ours."""
        opened = opened_from(runtime)
        models = Models(*opened) if opened and opened[1].scale == 1 else None
        if models is None or not models.rescales:
            yield None
            return
        with self._lock:
            models = self._spare.pop(runtime, models)
        try:
            yield models
        finally:
            with self._lock:
                surplus = self._spare.get(runtime)
                self._spare[runtime] = models
            if surplus is not None:
                surplus.close()


_SPARE = _Spare()


Model = str | Path | Runtime | Models | None
"""A model file, an engine, a shipped model's name, what `open_model` returned; None for the default model."""


@contextmanager
def models_of(model: Model | Given, request: Request) -> Iterator[Models | Given]:
    """What a caller gave as model: his own, left open, or one of ours that ends with the call."""
    if isinstance(model, (Models, Given)):
        yield model
    elif model is None or isinstance(model, (str, Path)):
        with Models(model, request) as models:
            yield models
    elif not hasattr(model, "submit"):
        raise UsageError(
            f"model: give a file, a shipped model's name or what open_model returned, not {kind_of(model)}"
        )
    elif request.probabilities and not model.probabilities:
        raise UsageError("segment: this model was opened for labels alone; use open_model(..., probabilities=True)")
    elif request.threshold is not None:
        raise UsageError(f"--threshold {request.threshold:g}: this model is open already; open it with this threshold")
    else:
        with _SPARE.of(model) as others:
            yield Given(model, others)
