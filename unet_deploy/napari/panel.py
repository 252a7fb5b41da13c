"""The widget: a layer, all of it or a region, and a model; then labels with their table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.errors import UnetDeployError, UsageError, in_python
from unet_deploy.napari.answer import answer_layer, summary
from unet_deploy.napari.region import region_of
from unet_deploy.napari.source import LayerSource
from unet_deploy.napari.work import Made, Wish, Work
from unet_deploy.system.extras import importing
from unet_deploy.zoo import DEFAULT_MODEL, shipped_models

with importing("napari", "napari"):
    from magicgui.widgets import ComboBox, Container, FileEdit, ProgressBar, PushButton
    from napari.layers import Image, Shapes
    from qtpy.QtCore import Qt, QTimer
    from qtpy.QtWidgets import QLabel

WHOLE = "whole layer"
FROM_FILE = "from a file"
OBJECTS, CLASSES = "objects and their table", "classes"
_LOOKS_EVERY_MS = 100
_LABELS_ALIKE = "QLabel { min-width: 4em }"
"""So that fields begin below each other."""


@dataclass(frozen=True)
class _Begun:
    """A segmentation and the layer that it is of."""

    work: Work
    image: Any
    wish: Wish


class SegmentPanel(Container):
    """What is segmented is chosen here; it is done in a thread, and its answer becomes a layer of labels."""

    def __init__(self, napari_viewer: Any) -> None:
        self._viewer = napari_viewer
        self._begun: _Begun | None = None
        self._kept: list[Made] = []
        """Whose files layers still read."""
        self.image = ComboBox(label="Image", choices=self._images, tooltip="The layer that is segmented")
        self.region = ComboBox(
            label="Region", choices=self._regions, tooltip="All, or what a layer of shapes is around"
        )
        self.model = ComboBox(label="Model", choices=[*shipped_models(), FROM_FILE], value=DEFAULT_MODEL)
        self.file = FileEdit(label="File", filter="Models (*.onnx *.engine)", visible=False)
        self.result = ComboBox(label="Result", choices=[OBJECTS, CLASSES])
        self.run = PushButton(text="Segment")
        self.stop = PushButton(text="Cancel", visible=False)
        self.bar = ProgressBar(min=0, max=1000, visible=False)
        self.said = QLabel()
        asked = [self.image, self.region, self.model, self.file, self.result]
        super().__init__(widgets=[*asked, self.run, self.stop, self.bar])
        self.native.setStyleSheet(_LABELS_ALIKE)
        self.said.setWordWrap(True)
        self.native.layout().addWidget(self.said)
        self.native.layout().setAlignment(Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self.native)
        self._timer.setInterval(_LOOKS_EVERY_MS)
        self._timer.timeout.connect(self._look)
        self.model.changed.connect(self._ask_for_file)
        self.run.changed.connect(self.begin)
        self.stop.changed.connect(self.cancel)
        self.native_parent_changed.connect(self._end_with_its_window)

    def begin(self) -> None:
        """Begin to segment what is chosen; say what is missing where that cannot be."""
        try:
            image, wish = self._chosen()
            self._begun = _Begun(Work(LayerSource(image), wish), image, wish)
        except UnetDeployError as error:
            self.said.setText(in_python(str(error)))
            return
        self.said.setText("")
        self._show_running(True)
        self._timer.start()

    def cancel(self) -> None:
        """End what was begun; nothing is made of it."""
        if self._begun:
            self._begun.work.cancel()

    def _end_with_its_window(self) -> None:
        """Without a window nobody could end it any more."""
        if self.native.parent() is None:
            self.cancel()

    def _chosen(self) -> tuple[Any, Wish]:
        """The layer and what is wished of it. Raises UsageError and ImageError."""
        image, shapes = self.image.value, self.region.value
        if image is None:
            raise UsageError("there is no image; open one, or File > Open Sample > unet-deploy")
        region = None if shapes == WHOLE else region_of(shapes, image)
        model = self.file.value if self.model.value == FROM_FILE else self.model.value
        if model == Path():
            raise UsageError("there is no model; choose its file")
        return image, Wish(model, region, objects=self.result.value == OBJECTS)

    def _look(self) -> None:
        """See how far it is; when it is done, show what came of it."""
        assert self._begun is not None
        work = self._begun.work
        self.bar.value = round(1000 * work.share)
        if work.is_running:
            return
        self._timer.stop()
        begun, self._begun = self._begun, None
        self._show_running(False)
        self.said.setText("Cancelled" if work.is_cancelled else work.failed)
        if work.made and not work.is_cancelled:
            self._show(work.made, begun)

    def _show(self, made: Made, begun: _Begun) -> None:
        try:
            data, how, _ = answer_layer(made, begun.image, begun.wish.region)
        except UnetDeployError as error:
            self.said.setText(str(error))
            return
        if not isinstance(data, np.ndarray):
            self._kept.append(made)
        self._viewer.add_labels(data, **how)
        self.said.setText(summary(made))

    def _show_running(self, running: bool) -> None:
        self.bar.value = 0
        self.bar.visible = self.stop.visible = running
        self.run.visible = not running

    def _ask_for_file(self, model: str) -> None:
        self.file.visible = model == FROM_FILE

    def _images(self, _: Any) -> list[Any]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image)]

    def _regions(self, _: Any) -> list[Any]:
        return [WHOLE, *(layer for layer in self._viewer.layers if isinstance(layer, Shapes))]
