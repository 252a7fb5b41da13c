"""What holds for every ImageSource, written once: each source's own tests begin with a subclass."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageSource, open_image
from unet_deploy.tiling import Region

some = settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
)


def noise(shape, dtype):
    return np.random.default_rng(5).integers(0, 200, shape).astype(dtype)


class SourceConformance:
    """The contract of ImageSource. A subclass says how pixels (pages, C, H, W) become an image."""

    shapes = ((1, 1, 53, 41), (3, 1, 53, 41), (2, 3, 53, 41), (1, 1, 1, 1))
    """Pages, channels, height and width of images that it can be."""
    dtypes = (np.uint8, np.uint16, np.float32)

    def write(self, folder: Path, pixels: np.ndarray) -> Path:
        """Write an image; returns its name."""
        raise NotImplementedError

    def open(self, path: Path, **options) -> ImageSource:
        return open_image(path, **options)

    def stored(self, path: Path, pixels: np.ndarray) -> np.ndarray:
        """The pixels that an image has; not those that it was made of where the format changes them."""
        return pixels

    def images(self, folder: Path):
        """An image of each shape and each type, with its pixels (pages, C, H, W)."""
        for at, shape in enumerate(self.shapes):
            for dtype in self.dtypes:
                pixels = noise(shape, dtype)
                place = folder / f"{at} {np.dtype(dtype).name}"
                place.mkdir()
                path = self.write(place, pixels)
                yield path, self.stored(path, pixels)

    def test_it_says_what_it_is_before_a_pixel_is_read(self, tmp_path):
        for path, pixels in self.images(tmp_path):
            with self.open(path) as source:
                info = source.info
                assert (info.pages, info.channels, info.height, info.width) == pixels.shape
                assert info.dtype == pixels.dtype
                assert source.cache_bytes >= 0

    def test_every_page_is_itself(self, tmp_path):
        for path, pixels in self.images(tmp_path):
            with self.open(path) as source:
                for page in reversed(range(len(pixels))):
                    found = source.crop(page, Region(0, 0, *pixels.shape[2:]))
                    assert found.dtype == pixels.dtype
                    np.testing.assert_array_equal(found, pixels[page])

    @some
    @given(st.data())
    def test_any_region_is_that_of_the_mirrored_whole_in_any_order(self, tmp_path_factory, data):
        shape = data.draw(st.sampled_from(self.shapes))
        path = self.write(tmp_path_factory.mktemp("image"), noise(shape, self.dtypes[0]))
        pixels = self.stored(path, noise(shape, self.dtypes[0]))
        pad = 200
        mirrored = np.pad(pixels, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="reflect")
        with self.open(path) as source:
            for _ in range(4):
                page = data.draw(st.integers(0, shape[0] - 1))
                y, x = data.draw(st.integers(-60, 60)), data.draw(st.integers(-60, 60))
                height, width = data.draw(st.integers(1, 110)), data.draw(st.integers(1, 110))
                found = source.read(page, Region(y, x, height, width))
                expected = mirrored[page, :, y + pad : y + pad + height, x + pad : x + pad + width]
                np.testing.assert_array_equal(found, expected)

    def test_closing_twice_does_no_harm(self, tmp_path):
        path, _ = next(self.images(tmp_path))
        with self.open(path) as source:
            source.close()


class FileSourceConformance(SourceConformance):
    """The contract of a source that is a file or a folder."""

    def test_one_channel_is_chosen(self, tmp_path):
        for path, pixels in self.images(tmp_path):
            channels = pixels.shape[1]
            with self.open(path, channel=channels - 1) as source:
                assert source.info.channels == 1
                found = source.read(0, Region(0, 0, *pixels.shape[2:]))
                np.testing.assert_array_equal(found, pixels[0, channels - 1 :])
            with pytest.raises(ImageError, match=rf"has no channel {channels}; it has {channels}, counted from 0"):
                self.open(path, channel=channels)

    def test_a_level_that_it_lacks_is_one_line(self, tmp_path):
        path, _ = next(self.images(tmp_path))
        with pytest.raises(ImageError, match=r"has no level 7; it has [12], counted from 0, the finest") as error:
            self.open(path, level=7)
        assert "\n" not in str(error.value)

    def test_a_file_that_is_missing_is_one_line_with_its_name(self, tmp_path):
        path, _ = next(self.images(tmp_path))
        gone = path.with_name(f"gone{path.suffix}")
        with pytest.raises(ImageError, match=str(gone)) as error:
            self.open(gone)
        assert "\n" not in str(error.value)

    def test_its_state_is_the_same_until_its_pixels_are_others(self, tmp_path):
        path, pixels = next(self.images(tmp_path))
        with self.open(path) as source, self.open(path) as again:
            before = source.state()
            assert before
            assert again.state() == source.state() == before
        other = tmp_path / "other"
        other.mkdir()
        with self.open(self.write(other, pixels ^ 1)) as source:
            assert source.state() != before

    def test_errors_name_the_file(self, tmp_path):
        path, _ = next(self.images(tmp_path))
        with self.open(path) as source:
            assert source.info.name == str(path)
