"""A runtime that does not say what the model says is refused on the first image, before a mask is written."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from unet_deploy.errors import VerificationError
from unet_deploy.runtimes import Answer, OutOfMemoryError
from unet_deploy.segmentation.run import Outputs, segment_array, segment_file
from unet_deploy.stream.planner import plan_for
from unet_deploy.stream.proof import Proof, Unproved, compare_on_tiles, prove, without_proof
from unet_deploy.zoo import open_model


class Wrong:
    """A model whose engine answers wrongly in a share of all pixels."""

    def __init__(self, path, share=0.0, nan=False):
        self.inner = open_model(path, device="cpu", probabilities=True, tile_size=300)
        self.card, self.name, self.slots = self.inner.card, "a wrong engine", 1
        self.limits, self.probabilities, self.fingerprint = self.inner.limits, True, self.inner.fingerprint
        self.share, self.nan = share, nan

    def submit(self, tiles, greys):
        return self.inner.submit(tiles, greys)

    def result(self, ticket):
        labels, scores = ticket.labels.copy(), ticket.probabilities.copy()
        flat = labels.reshape(-1)
        flat[: int(self.share * flat.size)] ^= 1
        if self.nan:
            scores[..., 0, 0] = np.nan
        return Answer(labels, scores)

    def memory(self, height, width):
        return None

    def shrink(self, below):
        raise NotImplementedError


def unproved(path, runtime):
    """A runtime that is still to be compared with the model, and what is kept of the comparison."""
    kept = []
    return Unproved(runtime, Proof(lambda: open_model(path, device="cpu", probabilities=True), kept.append)), kept


def test_what_holds_is_kept_and_not_asked_for_again(small_models, speckle):
    runtime, kept = unproved(small_models["one"], Wrong(small_models["one"]))
    labels, _ = segment_array(speckle, runtime, None)
    assert len(kept) == 1
    assert kept[0].labels_differ_ppm == 0
    assert kept[0].tiles == 4
    assert runtime.proof is None
    segment_array(speckle, runtime, None)
    assert len(kept) == 1
    assert labels.any()


@pytest.mark.parametrize("fault", [{"share": 0.002}, {"nan": True}])
def test_what_does_not_hold_writes_no_mask(small_models, speckle, tmp_path, fault):
    tifffile.imwrite(tmp_path / "image.tif", speckle)
    runtime, kept = unproved(small_models["one"], Wrong(small_models["one"], **fault))
    with pytest.raises(VerificationError, match="a wrong engine: not the model's answer"):
        segment_file(tmp_path / "image.tif", Outputs(tmp_path / "mask.tif"), runtime)
    assert not kept
    assert runtime.proof
    assert [path.name for path in tmp_path.iterdir()] == ["image.tif"]


def test_the_limit_is_in_labels_in_a_million(small_models, speckle):
    from unet_deploy.images.array import ArraySource

    runtime = Wrong(small_models["one"], share=0.01)
    source = ArraySource(speckle)
    with open_model(small_models["one"], device="cpu", probabilities=True) as reference:
        agreement = compare_on_tiles(runtime, reference, source, plan_for(runtime, source.info.region))
    assert 8_000 < agreement.labels_differ_ppm < 12_000
    assert not agreement.holds
    assert replace(agreement, limit_ppm=20_000).holds


def test_a_blank_image_settles_nothing(small_models, speckle):
    runtime, kept = unproved(small_models["one"], Wrong(small_models["one"]))
    agreement = prove_on(runtime, np.full((400, 400), 7, np.uint8))
    assert agreement.classes == 1
    assert not kept
    assert runtime.proof
    assert prove_on(runtime, speckle).classes == 2
    assert kept
    assert runtime.proof is None


def prove_on(runtime, image):
    from unet_deploy.images.array import ArraySource

    source = ArraySource(image)
    return prove(runtime, source, lambda: plan_for(runtime, source.info.region))


def test_short_memory_in_a_proof_shrinks_the_tiles_as_it_does_later(small_models, speckle):
    class Cramped(Wrong):
        def submit(self, tiles, greys):
            if tiles[0].shape[1] > 150:
                raise OutOfMemoryError("no room")
            return super().submit(tiles, greys)

        def shrink(self, below):
            self.limits = self.limits.halved(self.card)

    runtime, _ = unproved(small_models["one"], Cramped(small_models["one"]))
    labels, _ = segment_array(speckle, runtime, None)
    with open_model(small_models["one"], device="cpu") as reference:
        np.testing.assert_array_equal(labels, segment_array(speckle, reference, None)[0])
    assert runtime.proof is None


def test_every_slot_and_every_place_of_a_batch_is_proved(small_models, speckle):
    """An engine whose third slot answers wrongly, or whose second place does."""
    from runtimes.test_onnx_program import streamed

    for fault in ("slot", "place"):
        with streamed(small_models["one"], "fp32", "uint8", batch=2) as runtime:
            wrong, _ = unproved(small_models["one"], WrongSomewhere(runtime, fault))
            with pytest.raises(VerificationError, match="not the model's answer"):
                prove_on(wrong, speckle)


class WrongSomewhere:
    def __init__(self, runtime, fault):
        self.runtime, self.fault = runtime, fault

    def __getattr__(self, name):
        return getattr(self.runtime, name)

    def result(self, ticket):
        slot = ticket.flight.slot.index
        answer = self.runtime.result(ticket)
        if self.fault == "place":
            answer.labels[1] ^= 1
        elif slot == 2:
            answer.labels[...] ^= 1
        return answer


def test_a_runtime_with_nothing_to_show_is_left_alone(small_models, speckle):
    from unet_deploy.images.array import ArraySource

    with open_model(small_models["one"], device="cpu") as runtime:
        source = ArraySource(speckle)
        assert prove(runtime, source, lambda: plan_for(runtime, source.info.region)) is None


def test_who_measures_a_runtime_can_leave_its_proof_out(small_models):
    inner = Wrong(small_models["one"])
    assert without_proof(unproved(small_models["one"], inner)[0]) is inner
    assert without_proof(inner) is inner
