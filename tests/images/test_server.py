"""A server that is busy, hangs up or says nothing is asked again, and given up in the end, in one line."""

import http.server
import socket
import time

import numpy as np
import pytest
from web_server import serving

zarr = pytest.importorskip("zarr")
pytest.importorskip("aiohttp")
from sample_zarr import noise, write_image  # noqa: E402

from unet_deploy.errors import ImageError  # noqa: E402
from unet_deploy.images import server  # noqa: E402
from unet_deploy.images.zarr_image import ZarrSource  # noqa: E402


class Moody(http.server.SimpleHTTPRequestHandler):
    """Serves files, but for the first `times` requests of each: it does `mood` then."""

    mood, times, seen = "503", 0, {}

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.seen[self.path] = self.seen.get(self.path, 0) + 1
        if self.seen[self.path] > self.times or not self.translate_path(self.path).endswith(("json", "0")):
            super().do_GET()
        elif self.mood == "silence":
            time.sleep(1.5)
        elif self.mood == "hang up":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif self.mood == "half an answer":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"{")
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.send_error(int(self.mood))


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serves an image whose server has moods; the address, the pixels and a function that sets the mood."""
    monkeypatch.setattr(server, "PAUSE", 0.01)
    pixels = noise(70, 80)
    write_image(tmp_path / "i.zarr", pixels, "yx")
    handler = type("Handler", (Moody,), {"seen": {}})

    def feel(mood, times):
        handler.mood, handler.times = mood, times

    with serving(tmp_path, handler) as address:
        yield f"{address}/i.zarr", pixels, feel


MOODS = ["408", "429", "500", "502", "503", "504", "hang up", "half an answer", "silence"]


@pytest.mark.parametrize("mood", MOODS)
def test_what_passes_is_waited_for(serve, mood):
    url, pixels, feel = serve
    feel(mood, 2 if mood != "silence" else 1)
    with ZarrSource(url, timeout=0.5) as source:
        np.testing.assert_array_equal(source.crop(0, source.info.region)[0], pixels)


@pytest.mark.parametrize("mood", MOODS)
def test_what_does_not_pass_is_one_line_in_bounded_time(serve, mood):
    url, _, feel = serve
    feel(mood, 10**6)
    began = time.perf_counter()
    with pytest.raises(ImageError, match=rf"^{url}: [^\n]*3 times") as error:
        ZarrSource(url, timeout=0.3)
    assert time.perf_counter() - began < 10
    assert ("--timeout" in str(error.value)) == (mood == "silence")


@pytest.mark.parametrize("mood", ["403", "401", "410"])
def test_what_will_not_pass_is_not_asked_again(serve, mood):
    url, _, feel = serve
    feel(mood, 1)
    with pytest.raises(ImageError, match=rf"^{url}: [^\n]+"):
        ZarrSource(url)
