"""Elements, pictures and charts of a page, whatever is in them."""

from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.reporting.before import lines_before
from unet_deploy.reporting.charts import Bins, histogram, shares
from unet_deploy.reporting.markup import element, number
from unet_deploy.reporting.outliers import LEAST, scores
from unet_deploy.reporting.pictures import jpeg
from unet_deploy.reporting.several import THUMBNAIL_BYTES, Line, Other, several_page
from unet_deploy.system.words import visible


class Read(HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self.title = [], "", None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.title = dict(attributes).get("title", self.title)

    def handle_data(self, data):
        self.text += data


@given(st.text())
def test_any_text_stays_text(text):
    read = Read(element("p", text, title=text))
    assert read.tags == ["p"]
    assert read.text == read.title == visible(text)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_is_read_back_to_the_last_bit(value):
    said = number("x", value)
    assert type(value)(said.split('value="')[1].split('"')[0]) == value


@pytest.mark.parametrize("most", [150_000, 20_000, 2_000])
def test_a_picture_has_no_more_bytes_than_it_may(most):
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3)).astype(np.uint8)
    data = jpeg(noise, most)
    assert len(data) <= most
    assert data.startswith(b"\xff\xd8")


numbers = st.lists(st.floats(-1e9, 1e9) | st.integers(1, 10**9).map(float), min_size=1, max_size=50)


@given(numbers)
def test_a_histogram_counts_every_value_once(values):
    bins = Bins.of(np.array(values))
    assert bins.counts.sum() == len(values)


def test_what_is_no_number_is_not_drawn():
    assert "No area to draw" in histogram(np.array([np.nan, np.inf]), "area")
    assert "1 to 1: 2" in histogram(np.array([1.0, 1.0, np.nan]), "area")


def test_shares_say_their_numbers():
    assert 'aria-label="a 25.00 %, b 75.00 %"' in shares([("a", 0.25, None), ("b", 0.75, (1, 2, 3))])


def test_few_or_equal_images_have_no_outlier():
    assert not scores(np.array([1.0, 2.0, 900.0])).any()
    assert not scores(np.full(2 * LEAST, 7.0)).any()
    one = np.array([7.0] * 9 + [70.0])
    assert scores(one).argmax() == 9
    assert scores(one)[9] > 3.5
    assert scores(np.append(one, np.nan))[-1] == 0


def test_a_page_of_very_many_images_is_below_five_megabytes():
    lines = [Line("<&" * 100 + str(at), at, 0.1, 3.5, "area_px", 7.25, 0.9, (), 1.5, 2.0) for at in range(4000)]
    text = several_page(lines, [], lambda at: bytes(THUMBNAIL_BYTES), None)
    assert 3e6 < len(text.encode()) < 5e6
    assert "more images have no row here" in text


def test_rows_of_a_page_are_read_back_and_what_is_none_is_left_out(tmp_path):
    nothing = float("nan")
    lines = [Line(f"{at}<&\"'.tif", at, 0.1, 3.5, "area_px", 7.25, 0.9, ("a <b>", "c"), 1.5, 2.0) for at in range(3)]
    lines.append(Line("dark.tif", 0, 0.0, nothing, "area_px", nothing, nothing, (), 1.0, 1.0))
    text = several_page(lines, [Other("x.tif", "why", failed=True)], lambda at: bytes([at] * 9), None)
    page = tmp_path / "r.html"
    page.write_text(text)
    found = lines_before(page)
    assert {name: picture for name, (_, picture) in found.items()} == {
        line.image: bytes([at] * 9) for at, line in enumerate(lines)
    }
    assert [repr(found[line.image][0]) for line in lines] == list(map(repr, lines))
    page.write_text(text.replace("&quot;objects&quot;: 1", "&quot;objects&quot;: &quot;many&quot;"))
    assert len(lines_before(page)) == 3
    page.write_bytes(b"\xff<![no")
    assert lines_before(page) == {}
