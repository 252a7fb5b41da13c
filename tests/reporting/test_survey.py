"""What is seen of an image does not depend on its tiles, and places are those that their rules name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_deploy.images import ImageInfo
from unet_deploy.masks.overlay import Overlay
from unet_deploy.model.card import ModelCard
from unet_deploy.objects import Objects
from unet_deploy.objects.parts import objects_of
from unet_deploy.objects.rules import Rules
from unet_deploy.reporting import survey
from unet_deploy.reporting.crops import Place, choose
from unet_deploy.reporting.found import Found
from unet_deploy.reporting.survey import FIELD, Doubts, Survey
from unet_deploy.segmentation.counting import ObjectWriter
from unet_deploy.stream.pipeline import DoneTile
from unet_deploy.tiling import Region, Tile

CARD = ModelCard("m", 1, ("background", "cell", "debris"), margin=0, stride=1, base=1)


def surveyed(region, image, labels, scores, data, *, tall, wide):
    found = Survey(ImageInfo("i", 1, 1, 900, 900, image.dtype), region, CARD, most=64)
    for y in range(0, region.height, tall):
        for x in range(0, region.width, wide):
            part = Region(y, x, min(tall, region.height - y), min(wide, region.width - x))
            there, place = part.slices, part.moved(*region.origin)
            tile = Tile(place, place)
            pixels, probabilities = (each[(slice(None), *there)] for each in (image, scores))
            found(DoneTile(0, tile, pixels, labels[there], probabilities, place, data=data[there]))
    return found


@settings(max_examples=10)
@given(st.integers(50, 700), st.integers(50, 700))
def test_it_is_the_same_whatever_the_tiles(tall, wide):
    rng = np.random.default_rng(3)
    region = Region(37, 11, 600, 530)
    image, data = rng.integers(0, 255, (1, 600, 530)).astype(np.uint8), rng.random((600, 530)) < 0.9
    scores = rng.dirichlet((1, 1, 1), (600, 530)).astype(np.float32).transpose(2, 0, 1)
    labels = np.where(data, scores.argmax(0), 0).astype(np.uint8)
    whole = surveyed(region, image, labels, scores, data, tall=999, wide=999)
    tiled = surveyed(region, image, labels, scores, data, tall=tall, wide=wide)
    assert tiled.pixels.tolist() == whole.pixels.tolist() == [int((labels[data] == k).sum()) for k in range(3)]
    assert tiled.without_data == whole.without_data == int((~data).sum())
    assert np.abs(tiled.picture.picture().astype(int) - whole.picture.picture()).max() <= 1
    mine, theirs = whole.doubts.most(), tiled.doubts.most()
    assert [(each.page, each.region) for each in mine] == [(each.page, each.region) for each in theirs]
    doubts = CARD.decision.doubts(scores) ** 2
    first = mine[0]
    assert first.doubt == pytest.approx(doubts[first.region.slices_in(region)].sum(), rel=1e-5)
    assert first.region.origin[0] % FIELD == 37


def test_doubts_of_a_large_page_are_added_up_in_larger_fields(monkeypatch):
    monkeypatch.setattr(survey, "_MOST_FIELDS", 4)
    doubts = Doubts(Region(0, 0, 1500, 1500), CARD.decision)
    doubts.add(0, Region(1400, 1400, 50, 50), np.full((3, 50, 50), 1 / 3, np.float32))
    (field,) = doubts.most()
    assert field.region == Region(1024, 1024, 476, 476)


def test_a_field_in_which_the_model_is_certain_of_all_but_a_few_pixels_is_not_shown_as_doubtful():
    scores = np.zeros((3, 300, 300), np.float32)
    scores[0] = 1
    scores[:, 10, 10:19] = 1 / 3
    doubts = Doubts(Region(0, 0, 300, 300), CARD.decision)
    doubts.add(0, Region(0, 0, 300, 300), scores)
    assert doubts.most() == []


def tables_of(pages, region):
    tables = []
    for labels in pages:
        objects = Objects(region, channels=1, classes=CARD.classes)
        objects.add(region, 10 * labels[None], labels)
        tables.append(objects.finish(sum(map(len, tables))))
    return tables


def test_places_are_the_fullest_fields_and_the_extreme_objects():
    region = Region(100, 200, 600, 600)
    pages = np.zeros((2, 600, 600), np.uint8)
    pages[0, 5:250:20, 300] = 1  # 13 objects of a pixel in one field
    pages[1, 300:340, 20:60] = 2  # the largest
    pages[1, 520:560:10, 520:560:10] = 1  # 16 in another
    places = choose(tables_of(pages, region), [], region)
    assert [place.why for place in places] == ["most objects", "most objects", "largest object", "smallest object"]
    fullest, next_to_it, largest, smallest = places
    assert (fullest.page, fullest.region, fullest.box) == (1, Region(444, 544, 256, 256), Region(612, 712, 88, 88))
    assert fullest.note == "16 objects by centroid"
    assert (next_to_it.page, next_to_it.region) == (0, Region(100, 456, 256, 256))
    assert (largest.page, largest.box) == (1, Region(400, 220, 40, 40))
    assert largest.note == "object 14, 1600 px"
    assert (smallest.page, smallest.box) == (0, Region(105, 500, 1, 1))
    for place in places:
        assert place.region.intersection(region) == place.region


def test_a_place_is_shown_once_and_nothing_is_shown_of_nothing():
    region = Region(0, 0, 90, 90)
    one = np.zeros((1, 90, 90), np.uint8)
    assert choose(tables_of(one, region), [], region) == []
    one[0, 40:50, 40:50] = 1
    (place,) = choose(tables_of(one, region), [], region)
    assert place == Place("most objects", 0, region, "1 object by centroid")


@pytest.mark.parametrize("region", [Region(0, 0, 600, 300), Region(7, 9, 20, 2000), Region(0, 0, 1, 1)])
def test_a_field_is_shown_with_all_of_it_inside_the_image_and_no_narrower_than_the_image_is(region):
    ends = np.zeros((1, *region.sides), np.uint8)
    ends[0, -1, -1] = 1
    place = choose(tables_of(ends, region), [], region)[0]
    assert place.region.intersection(region) == place.region
    assert place.region.sides == tuple(min(FIELD, side) for side in region.sides)
    assert place.box is None or place.box.intersection(place.region) == place.box


def test_found_is_the_table():
    labels = np.zeros((1, 90, 90), np.uint8)
    labels[0, 5, 5:9], labels[0, 50:60, 50:60] = 2, 1
    region = Region(0, 0, 90, 90)
    seen = Survey(ImageInfo("i", 1, 1, 90, 90, labels.dtype), region, CARD, most=64)
    seen(DoneTile(0, Tile(region, region), labels, labels[0], None, region))
    found = Found.of(seen, tables_of(labels, region))
    assert found.pixels == (90 * 90 - 104, 100, 4)
    assert [found.objects(label) for label in (1, 2)] == [1, 1]
    assert found.columns["area_px"].tolist() == [4, 100]
    assert found.columns["mean_intensity"].tolist() == [20, 10]
    assert found.foreground == pytest.approx(104 / 8100)


def test_an_overlay_may_be_drawn_between_grey_values_of_another():
    grey = np.arange(100, dtype=np.uint8).reshape(1, 10, 10)
    everywhere = Region(0, 0, 10, 10)
    picture = Overlay(everywhere, 1, ("background", "cell"))
    picture.add(everywhere, grey, np.zeros((10, 10), np.uint8))
    assert picture.picture((0, 255))[..., 0].tolist() == grey[0].tolist()


def test_ids_of_a_place_are_those_of_the_whole_whatever_the_tiles():
    rng = np.random.default_rng(5)
    labels = (rng.random((200, 300)) < 0.45).astype(np.uint8)
    labels[60:90, 120:170] = 1
    region, rules = Region(0, 0, 200, 300), Rules(min_size=3, fill_holes=True, split=0.05)
    writer = ObjectWriter(rules, ImageInfo("i", 1, 1, 200, 300, labels.dtype), region, CARD.classes)
    for y in (0, 120):
        for x in (0, 100, 250):
            part = Region(y, x, (120, 80)[y > 0], {0: 100, 100: 150, 250: 50}[x])
            writer.add(DoneTile(0, Tile(part, part), labels[part.slices][None], labels[part.slices], None, part))

    def labels_of(page, part):
        return labels[part.slices]

    writer.finish(labels_of, lambda page, part: labels[part.slices][None])
    place = Region(80, 60, 100, 200)
    assert (writer.ids(0, place, labels_of) == objects_of(labels, rules)[place.slices]).all()
