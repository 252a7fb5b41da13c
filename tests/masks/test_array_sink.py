"""Arrays in memory as masks."""

from sink_conformance import SinkConformance

from unet_deploy.masks.array import ArraySink


class TestArraySink(SinkConformance):
    def name(self, folder, asked):
        return folder

    def open(self, path, asked, keep=None):
        shape = asked.image.pages, asked.planes, asked.image.height, asked.image.width
        self.sink = ArraySink(shape, asked.dtype)
        return self.sink

    def levels(self, path):
        return [self.sink.array]
