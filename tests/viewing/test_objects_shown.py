"""The table of objects: what is asked of it, and that a million rows do not stall it."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_deploy.errors import UsageError
from unet_deploy.tiling import Region
from unet_deploy.viewing import described
from unet_deploy.viewing.table import Order, Table, TableFile, read_table

HEAD = "id,class_name,area_px,centroid_y,centroid_x,bbox_y,bbox_x,bbox_height,bbox_width,eccentricity"


def test_examples_are_true():
    assert doctest.testmod(described).failed == 0


def table_of(count):
    """So many objects of 10 x 10 pixels at random places, and their areas."""
    random = np.random.default_rng(0)
    y, x = random.integers(0, 100_000, (2, count))
    sides = np.full(count, 10)
    boxes = {"bbox_y": y, "bbox_x": x, "bbox_height": sides, "bbox_width": sides}
    places = {"centroid_y": y + 4.5, "centroid_x": x + 4.5}
    return Table("cells.csv", {"id": np.arange(1, count + 1), **boxes, **places, "area": random.random(count)})


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, np.nan])), st.booleans())
def test_rows_are_sorted_and_those_without_a_number_come_last(areas, is_falling):
    columns = dict.fromkeys(("id", "bbox_y", "bbox_x", "bbox_height", "bbox_width", "centroid_y", "centroid_x"))
    table = Table("cells.csv", {**{name: np.arange(len(areas)) for name in columns}, "area": np.array(areas)})
    numbers, rows = table.rows(Order(7, is_falling), 0, 500)
    there = sorted((area for area in areas if not np.isnan(area)), reverse=is_falling)
    assert [row[7] for row in rows][: len(there)] == there
    assert sorted(numbers.tolist()) == list(range(len(areas)))
    assert [table.rank(Order(7, is_falling), number) for number in numbers] == list(range(len(areas)))


def test_of_several_boxes_around_a_pixel_the_nearest_object_is_meant():
    table = table_of(1000)
    for row in (0, 17, 999):
        _, box = table.place(row)
        assert table.at(0, box.y + 4, box.x + 5) == row
    assert table.at(0, 200_000, 0) is None


@pytest.mark.parametrize("name", ["cells.csv", "cells.parquet"])
def test_the_table_is_what_the_file_holds(tmp_path, name):
    path = tmp_path / name
    lines = ['1,"a, b",309,5.5,107.5,0,95,14,26,nan', "2,nucleus,210,4.9,207.6,0,198,12,20,0.8"]
    (tmp_path / "cells.csv").write_text("\n".join([HEAD, *lines]) + "\n")
    if name.endswith("parquet"):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow.parquet import write_table

        found = read_table(tmp_path / "cells.csv")
        cells = zip(*found.rows(Order(), 0)[1], strict=True)
        write_table(pyarrow.table(dict(zip(found.names, map(list, cells), strict=True))), path)
    table = TableFile(path).read()
    _, (first, second) = table.rows(Order(), 0)
    assert first[:-1] == [1, "a, b", 309, 5.5, 107.5, 0, 95, 14, 26]
    assert np.isnan(first[-1])
    assert second[0] == 2
    assert table.place(1) == (0, Region(0, 198, 12, 20))


def test_a_table_that_excel_saved_is_read(tmp_path):
    (tmp_path / "cells.csv").write_text(HEAD + "\n1,nucleus,309,5.5,107.5,0,95,14,26,0.5\n", encoding="utf-8-sig")
    table = read_table(tmp_path / "cells.csv")
    assert table.names[0] == "id"
    assert len(table) == 1


def test_a_table_without_objects_is_one(tmp_path):
    (tmp_path / "cells.csv").write_text(HEAD + "\n")
    table = read_table(tmp_path / "cells.csv")
    assert (len(table), table.rows(Order(2), 0)[1], table.at(0, 3, 3)) == (0, [], None)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", HEAD + "\n1,2\n", HEAD + "\n" + ",".join("x" * 10) + "\n", "\0\0"])
def test_what_is_no_table_of_objects_is_refused_on_one_line(tmp_path, text):
    (tmp_path / "cells.csv").write_text(text)
    with pytest.raises(UsageError, match=r"cells\.csv: (is no table of objects|has no column)"):
        read_table(tmp_path / "cells.csv")


def test_a_table_that_is_not_there_is_refused_at_once(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv: no such file"):
        TableFile(tmp_path / "none.csv")
