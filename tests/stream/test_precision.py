"""`--precision auto` takes bfloat16 where tiles of the image prove it and it is faster, and float32 elsewhere."""

import re
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from unet_deploy._version import __version__
from unet_deploy.cli import show
from unet_deploy.errors import DeviceError, UsageError
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import measure_page
from unet_deploy.runtimes import Answer, OutOfMemoryError
from unet_deploy.runtimes.agreement import Agreement
from unet_deploy.runtimes.choice import Choice, keep_choice, kept_choice
from unet_deploy.runtimes.onnxruntime import OnnxRuntime
from unet_deploy.runtimes.table import Row
from unet_deploy.segmentation import cluster
from unet_deploy.segmentation.cluster import Cluster
from unet_deploy.segmentation.compute import stream_here
from unet_deploy.segmentation.forecast import forecast
from unet_deploy.segmentation.run import Options, Outputs, segment_array, segment_file
from unet_deploy.stream.precision import TO_BE_PROVED, ByProof, foresee_precision, settle_precision
from unet_deploy.stream.proof import Proof, Unproved, without_proof
from unet_deploy.stream.stand_in import StandIn
from unet_deploy.zoo import Request, open_model


class Like(StandIn):
    """A model of another name that answers wrongly in a share of all pixels, and takes its time by a clock of ours."""

    clock = 0.0

    def __init__(self, path, name, share=0.0, seconds=0.01, fails=None, limit_ppm=1000):
        self._runtime = OnnxRuntime(path, probabilities=True, tile_size=300)
        self._runtime.card = replace(self._runtime.card, limit_ppm=limit_ppm)
        self._name, self.share, self.seconds, self.fails = name, share, seconds, fails

    @property
    def runtime(self):
        return self._runtime

    @property
    def name(self):
        return self._name

    def submit(self, tiles, greys):
        if self.fails:
            raise self.fails
        Like.clock += self.seconds
        labels, scores = vars(super().submit(tiles, greys)).values()
        flat = labels.reshape(-1)
        flat[: int(self.share * flat.size)] ^= 1
        return Answer(labels, scores)


@pytest.fixture
def by_proof(small_models, monkeypatch):
    """Makes a ByProof of which bfloat16 is as said, and float32 takes 20 ms a tile; `kept` is what came of it."""

    monkeypatch.setattr("unet_deploy.stream.timed.perf_counter", lambda: Like.clock)

    def make(choice=None, **fast):
        path, kept = small_models["one"], []

        def open_one(precision):
            if isinstance(fast.get("fails"), DeviceError) and precision == "bf16":
                raise fast["fails"]
            return Like(path, f"one {precision}", **(fast if precision == "bf16" else {"seconds": 0.02}))

        runtime = ByProof(open_one, lambda: open_one("fp32"), choice, kept.append)
        runtime.kept = kept
        return runtime

    return make


TAKEN = Choice(Agreement(pixels=9, labels_differ=0, tiles=3), 2.0)


def settled(runtime, image, recorded=None):
    return settle_precision(runtime, ArraySource(image), recorded=recorded)


def test_what_agrees_and_is_faster_is_taken_and_kept(by_proof, speckle):
    with by_proof() as runtime:
        assert runtime.name == "one fp32"
        found = settled(runtime, speckle)
        assert (found.runtime.name, found.precision, runtime.name) == ("one bf16", "bf16", "one bf16")
        assert "times as fast as float32: 0 labels in a million differ" in found.why
        settled(runtime, speckle)
        assert len(runtime.kept) == 1


def test_a_card_has_a_limit_of_its_own(by_proof, speckle):
    for limit, precision in ((1000, "fp32"), (5000, "bf16")):
        with by_proof(share=0.002, limit_ppm=limit) as runtime:
            assert settled(runtime, speckle).precision == precision


@pytest.mark.parametrize(
    ("fast", "why"),
    [
        ({"share": 0.002}, "float32: in bfloat16 .* labels in a million differ .limit 1000."),
        ({"seconds": 0.2}, "float32: bfloat16 is no faster on this processor .0"),
        ({"fails": OutOfMemoryError("no room")}, "float32: bfloat16 could not be tried .no room"),
        ({"fails": DeviceError("has none")}, "float32: bfloat16 could not be tried .has none"),
    ],
)
def test_elsewhere_the_answer_is_float32s_and_the_report_says_why(by_proof, speckle, tmp_path, fast, why):
    tifffile.imwrite(tmp_path / "image.tif", speckle)
    with by_proof(**fast) as runtime:
        report = segment_file(tmp_path / "image.tif", tmp_path / "mask.tif", runtime)
        assert report.runtime == "one fp32"
        assert re.match(why, report.why)
        plain = report.to_json()
        assert (plain["precision"], plain["precision_why"]) == ("fp32", report.why)
        exact = segment_array(speckle, without_proof(runtime), None)[0][0]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask.tif"), exact)


def test_the_scan_of_grey_values_for_the_proof_is_that_of_the_run(by_proof, speckle, monkeypatch):
    scans = []
    for room in ("stream.precision", "stream.pipeline", "segmentation.measuring"):
        monkeypatch.setattr(f"unet_deploy.{room}.measure_page", lambda *of: scans.append(of[1]) or measure_page(*of))
    with by_proof() as runtime:
        segment_array(speckle, runtime, None)
        assert scans == [0]


def test_that_it_was_slower_is_for_this_process_alone(by_proof, speckle):
    """The processor may have been busy: bfloat16 that agrees is tried again by the next one."""
    for fast, kept in (({"seconds": 0.2}, 0), ({"share": 0.002}, 1)):
        with by_proof(**fast) as runtime:
            assert settled(runtime, speckle).precision == settled(runtime, speckle).precision == "fp32"
            assert len(runtime.kept) == kept


def test_a_blank_image_is_computed_in_float32_and_settles_nothing(by_proof, speckle):
    with by_proof() as runtime:
        found = settled(runtime, np.full((400, 400), 7, np.uint8))
        assert (found.precision, runtime.kept, runtime.choice) == ("fp32", [], None)
        assert "proves nothing" in found.why
        assert settled(runtime, speckle).precision == "bf16"


def test_who_asks_without_an_image_gets_float32(by_proof):
    with by_proof() as runtime:
        assert without_proof(runtime).name == "one fp32"
    with by_proof(TAKEN) as runtime:
        assert without_proof(runtime).name == "one bf16"


@pytest.mark.parametrize(("first", "then"), [("fp32", TAKEN), ("bf16", None)])
def test_a_run_ends_in_the_precision_that_it_was_begun_in(by_proof, speckle, tmp_path, first, then):
    image, mask = tmp_path / "image.tif", tmp_path / "mask.tif"
    tifffile.imwrite(image, np.tile(speckle, (3, 3))[:1300, :1000])
    break_off(image, mask, by_proof(TAKEN if first == "bf16" else Choice(against="unlike")))
    with by_proof(then, share=0.002) as runtime:
        report = segment_file(image, mask, runtime, Options(resume=True, tile_size=300))
    assert report.runtime == f"one {first}"
    assert report.timing.resumed > 0
    assert "the run was begun so" in report.why


def test_a_dry_run_says_what_will_be_taken_and_settles_nothing(by_proof, speckle, tmp_path):
    image, mask = tmp_path / "image.tif", Outputs(tmp_path / "mask.tif")
    tifffile.imwrite(image, np.tile(speckle, (3, 3))[:1300, :1000])
    with by_proof() as runtime:
        open_question = forecast(image, runtime, mask, Options(tile_size=300))
        assert open_question.precision == TO_BE_PROVED
        assert open_question.model.endswith("one fp32")
        assert (runtime.choice, runtime.kept) == (None, [])
    with by_proof(TAKEN) as runtime:
        assert forecast(image, runtime, mask, Options(tile_size=300)).precision == str(TAKEN)
    break_off(image, mask.mask, by_proof(Choice(against="unlike")))
    with by_proof(TAKEN) as runtime:
        begun = forecast(image, runtime, mask, Options(tile_size=300, resume=True))
    assert (begun.precision, begun.model[-8:]) == ("fp32: the run was begun so", "one fp32")


def test_a_command_says_once_that_bfloat16_is_taken(by_proof, speckle, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "image.tif", speckle)
    with by_proof() as runtime:
        for number in range(2):
            show.report(segment_file(tmp_path / "image.tif", tmp_path / f"{number}.tif", runtime))
    said = capsys.readouterr().err.splitlines()
    line = "note: bfloat16 from now on, with 0 labels in a million that differ; --precision fp32 is exact"
    assert said.count(line) == 1


@pytest.mark.parametrize(
    ("grey", "pixels", "is_tried"),
    [("percentile", "float32", True), ("fixed", "uint8", True), ("fixed", "uint16", False)],
)
def test_a_model_that_takes_more_than_8_bits_as_they_are_stays_exact(
    small_models, tmp_path, monkeypatch, grey, pixels, is_tried
):
    """A proof on one image says nothing of another, of which bfloat16 makes 30,000 and 30,100 one value."""
    pytest.importorskip("openvino")
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path))
    monkeypatch.setattr("unet_deploy.system.machine.bf16_pays", lambda: True)
    model = small_models["three" if grey == "fixed" else "one"]
    with open_model(model, device="cpu", runtime="openvino", precision="auto", pixels=pixels) as runtime:
        assert (foresee_precision(runtime).why == TO_BE_PROVED) is is_tried


def test_a_machine_without_the_precision_of_a_run_refuses_to_go_on(by_proof, speckle, tmp_path):
    image, mask = tmp_path / "image.tif", tmp_path / "mask.tif"
    tifffile.imwrite(image, np.tile(speckle, (3, 3))[:1300, :1000])
    break_off(image, mask, by_proof(TAKEN))
    with (
        by_proof(Choice(against="this processor has no bfloat16")) as runtime,
        pytest.raises(UsageError, match=r"the unfinished run had another runtime \(one bf16\); resume"),
    ):
        segment_file(image, mask, runtime, Options(resume=True, tile_size=300))


def break_off(image, mask, runtime):
    """Begin a run and leave it after some tiles."""

    def stop(done, tiles):
        if done > tiles / 2:
            raise InterruptedError

    with runtime, pytest.raises(InterruptedError):
        segment_file(image, mask, runtime, Options(tile_size=300), progress=stop)


def test_the_workers_of_a_cluster_are_told_what_was_chosen(by_proof, speckle, tmp_path):
    """And not to choose themselves: one mask is of one precision."""
    told = []

    class Look:
        share = stream_here.share

        def fill(self, task, writer, progress):
            told.append(Cluster.work(SimpleNamespace(_model="one", _request=Request(precision="auto")), task, writer))
            return stream_here.fill(task, writer, progress)

    tifffile.imwrite(tmp_path / "image.tif", speckle)
    for number, runtime in enumerate((by_proof(), by_proof(share=0.002))):
        with runtime:
            segment_file(tmp_path / "image.tif", Outputs(tmp_path / f"{number}.zarr"), runtime, compute=Look())
    assert [(work.request.precision, work.runtime) for work in told] == [("bf16", "one bf16"), ("fp32", "one fp32")]
    assert all(work.settled for work in told)


def test_a_worker_does_not_prove_again_what_was_settled(small_models, monkeypatch):
    """Other tiles of another image may differ more than those that settled it, and one process would go on."""
    with OnnxRuntime(small_models["one"]) as inner:
        loaded, asked = Unproved(inner, Proof(lambda: inner, print)), []
        monkeypatch.setattr(cluster, "_loaded", lambda model, request: loaded)
        monkeypatch.setattr(cluster, "_source", lambda work: None)
        monkeypatch.setattr(cluster, "_proved", lambda *work: asked.append(work) or loaded)
        work = SimpleNamespace(model="one", request=Request(), fingerprint=inner.fingerprint, runtime=inner.name)
        work.version, work.settled = __version__, True
        assert cluster._runtime(work) is inner
        assert not asked
        work.settled = False
        assert cluster._runtime(work) is loaded
        assert asked


def test_a_choice_is_kept_and_a_damaged_file_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_DEPLOY_CACHE", str(tmp_path))
    keep_choice("it", TAKEN)
    assert kept_choice("it") == TAKEN
    (tmp_path / "choice-it.json").write_text("{")
    assert kept_choice("it") is None


def test_onnx_runtime_is_asked_for_its_version_itself(small_models, monkeypatch):
    """Its wheels for GPUs bring the same module under other names, which is what pip knows them by."""

    def unknown(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.Distribution.from_name", unknown)
    with open_model(small_models["one"], device="cpu", runtime="onnxruntime", precision="auto") as runtime:
        assert runtime.name == "ONNX Runtime fp32, CPU"


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_runtime_that_cannot_be_loaded_gives_way_to_the_next(small_models, monkeypatch, precision):
    load, said = Row.load, []

    def broken(row):
        if row.name == "openvino":
            raise DeviceError("openvino cannot be loaded (DLL load failed)")
        return load(row)

    monkeypatch.setattr(Row, "load", broken)
    monkeypatch.setattr(Row, "installed", True)
    asked = {"device": "cpu", "precision": precision, "notify": said.append}
    with open_model(small_models["one"], **asked) as runtime:
        assert runtime.name == "ONNX Runtime fp32, CPU"
    assert said == ["note: using ONNX Runtime: openvino cannot be loaded (DLL load failed)"]
    with pytest.raises(DeviceError, match="DLL load failed"):
        open_model(small_models["one"], runtime="openvino", **asked)


def test_without_bfloat16_auto_is_float32_and_says_so(small_models, speckle):
    with open_model(small_models["one"], device="cpu", precision="auto") as runtime:
        assert runtime.name.endswith("fp32, CPU")
        assert settled(runtime, speckle).why.startswith("float32: ")


def test_float32_is_the_same_whoever_chose_it(small_models, speckle):
    answers = []
    for precision in ("auto", "fp32"):
        with open_model(small_models["one"], device="cpu", precision=precision) as runtime:
            answers.append(segment_array(speckle, runtime, None)[0])
    np.testing.assert_array_equal(*answers)
