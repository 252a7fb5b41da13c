"""A TIFF whose directories lead in a circle is refused at once; all others are left to the reader."""

import struct

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_deploy.errors import ImageError
from unet_deploy.images import open_image
from unet_deploy.images.directories import check_directories, first_text

SIZE, FIRST = 300, 8 + 256
"""Bytes for a directory, and where the first one lies, behind the pixels that all share."""

PIXELS = ((256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 16), (279, 256))
"""Tags and values of 16 x 16 bytes of grey."""


def write(path, directories, *, order="<", big=False):
    """A TIFF of directories: the number of the next one, None for the last, and the numbers of its SubIFDs."""
    offset = "Q" if big else "I"
    start = (struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)) + struct.pack(
        order + offset, FIRST
    )
    content = ({"<": b"II", ">": b"MM"}[order] + start).ljust(8, b"\0")
    body = bytearray(FIRST + SIZE * len(directories))
    body[: len(content)] = content
    for number, (following, below) in enumerate(directories):
        at = FIRST + SIZE * number
        lies = [FIRST + SIZE * each for each in below]
        tags = [struct.pack(order + "HH" + offset * 2, tag, 16 if big else 4, 1, value) for tag, value in PIXELS]
        if lies:
            where = lies[0] if len(lies) == 1 else at + SIZE - 16
            tags.append(struct.pack(order + "HH" + offset * 2, 330, 18 if big else 13, len(lies), where))
            if len(lies) > 1:
                body[at + SIZE - 16 : at + SIZE] = struct.pack(order + offset * len(lies), *lies).ljust(16, b"\0")
        after = 0 if following is None else FIRST + SIZE * following
        table = struct.pack(order + ("Q" if big else "H"), len(tags)) + b"".join(tags)
        table += struct.pack(order + offset, after)
        body[at : at + len(table)] = table
    path.write_bytes(body)
    return path


CIRCLES = {
    "the next is itself": [(0, [])],
    "its SubIFD is itself": [(None, [0])],
    "both": [(0, [0])],
    "two pages": [(1, []), (0, [])],
    "a later page leads back into the middle": [(1, []), (2, []), (3, []), (1, [])],
    "a SubIFD's SubIFD is the page": [(None, [1]), (None, [0])],
    "SubIFDs of each other": [(None, [1, 2]), (None, [2]), (None, [1])],
    "two hundred pages": [((at + 1) % 200, []) for at in range(200)],
    "a tree that grows twofold at each step": [(None, [at + 1, at + 1]) for at in range(40)] + [(None, [])],
}


@pytest.mark.parametrize("layout", [{}, {"order": ">"}, {"big": True}], ids=["little", "big-endian", "BigTIFF"])
@pytest.mark.parametrize("circle", CIRCLES)
def test_a_circle_is_refused_at_once(tmp_path, circle, layout):
    if layout.get("big") and circle == "a tree that grows twofold at each step":
        layout = {}
    path = write(tmp_path / "round.tif", CIRCLES[circle], **layout)
    with pytest.raises(ImageError, match=r"round\.tif: its directories of pages lead in a circle; save it again"):
        open_image(path)


def test_pages_and_subifds_that_lead_nowhere_twice_are_read(tmp_path):
    path = write(tmp_path / "tree.tif", [(3, [1, 2]), (None, []), (None, []), (None, [4]), (None, [])])
    with open_image(path) as source:
        assert (source.info.height, source.info.width) == (16, 16)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_files_of_tifffile_pass(tmp_path, order, big):
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=big, byteorder=order) as tiff:
        for _ in range(3):
            tiff.write(np.zeros((64, 64), np.uint8), subifds=2, metadata=None)
            tiff.write(np.zeros((32, 32), np.uint8), subfiletype=1, metadata=None)
            tiff.write(np.zeros((16, 16), np.uint8), subfiletype=1, metadata=None)
    check_directories(tmp_path / "a.tif")


def test_what_claims_more_tags_than_there_are_ends_the_walk(tmp_path):
    path = tmp_path / "cut.tif"
    path.write_bytes(b"II*\0" + struct.pack("<IHH", 8, 4000, 1) + bytes(20))
    check_directories(path)


def test_planes_in_other_files_are_not_read_and_that_is_said(tmp_path):
    """A plane of another file must never be taken from the same place of this one."""
    planes = np.random.default_rng(0).integers(0, 255, (2, 40, 50), dtype=np.uint8)
    for at in (0, 1):
        data = "".join(
            f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="z{z}.ome.tif">urn:uuid:{z}</UUID>'
            "</TiffData>"
            for z in (0, 1)
        )
        text = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{at}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
            'SizeX="50" SizeY="40" SizeC="1" SizeZ="2" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{data}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / f"z{at}.ome.tif", planes[at], metadata=None, description=text)
    for at in (0, 1):
        with open_image(tmp_path / f"z{at}.ome.tif") as source:
            assert source.info.pages == 1
            assert "lie in other files are not read" in source.info.note
            np.testing.assert_array_equal(source.crop(0, source.info.region)[0], planes[at])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=70),
    big=st.booleans(),
    order=st.sampled_from("<>"),
)
def test_a_text_is_found_where_tifffile_put_it(tmp_path, text, big, order):
    path = tmp_path / "a.tif"
    tags = [(269, "s", 0, text, True)]
    pixels = np.zeros((2, 16, 16), np.uint8)
    tifffile.imwrite(path, pixels, extratags=tags, bigtiff=big, byteorder=order, metadata=None)
    assert first_text(path, 269) == text
    assert first_text(path, 285) is None


def test_a_text_of_a_cut_or_damaged_file_is_what_is_left_of_it_or_none(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), extratags=[(269, "s", 0, "a text of some length", True)])
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert (first_text(path, 269) or "") in "a text of some length"
