"""The options that several commands share, each written once: single ones as aliases, those of a theme as groups.

A group packs itself into the value of the library that it stands for.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unet_deploy.cli import parse
from unet_deploy.errors import address

if TYPE_CHECKING:
    from unet_deploy.annotations.marking import Marking
    from unet_deploy.images.reading import Reading

MODEL, TILES, IMAGE, OBJECTS, OUTPUTS, RUN = "Model and runtime", "Tiles", "Image", "Objects", "Outputs", "Run"
CARD, DATA = "Model card", "Data"
"""Themes: the sections of a command's help."""

# Choices are written here and not imported: the modules that know them are too heavy for --help. A test compares them.
MaskKind = Literal["auto", "binary", "classes", "instances"]
Palette = Literal["auto", "index", "colour"]
Layout = Literal["auto", "strips", "tiles"]

# -- single options --------------------------------------------------------------------------------------------------

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Model file, engine, or a shipped model's name.",
        show_default="nuclei",
        rich_help_panel=MODEL,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        help="auto, cpu, cuda or cuda:N (NVIDIA's), gpu or gpu:N (any other), npu. auto says so when it falls back.",
        rich_help_panel=MODEL,
    ),
]
RuntimeOption = Annotated[
    str,
    typer.Option(
        "--runtime",
        help="auto, coreml, directml, onnxruntime, openvino, tensorrt, tensorrt_rtx or webgpu.",
        rich_help_panel=MODEL,
    ),
]
LimitOption = Annotated[
    float,
    typer.Option(
        metavar="FLOAT",
        parser=parse.ppm,
        help="Labels in a million that may differ in less than float32, for the model card.",
        rich_help_panel=CARD,
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="fp32, fp16, bf16 or int8.",
        show_default="fp32 on a CPU, fp16 on a GPU or NPU",
        rich_help_panel=MODEL,
    ),
]
TileSizeOption = Annotated[
    int | None,
    typer.Option(
        "--tile-size",
        help="Largest side of a tile as it is read, in pixels of the image.",
        show_default="by memory",
        rich_help_panel=TILES,
    ),
]
TtaOption = Annotated[
    bool,
    typer.Option("--tta", help="The mean over 8 orientations: better, and 8 times as long.", rich_help_panel=TILES),
]
ChannelOption = Annotated[
    str | None,
    typer.Option(
        "--channel",
        help="Which channel of a multi-channel image: its number, from 0, or its name in the file.",
        metavar="N|NAME",
        rich_help_panel=IMAGE,
    ),
]
NodataOption = Annotated[
    float | None,
    typer.Option(
        "--nodata",
        help="Pixels of this value are no data, for example -9999 or nan.",
        show_default="what the file says",
        rich_help_panel=IMAGE,
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        min=0.1,
        help="Seconds that a server may be silent before it is asked again; it is asked 3 times.",
        rich_help_panel=IMAGE,
    ),
]
MaskKindOption = Annotated[
    MaskKind, typer.Option("--mask-kind", help="What the values of the masks are.", rich_help_panel=DATA)
]
IgnoreOption = Annotated[
    int | None,
    typer.Option(
        "--ignore",
        min=0,
        help="Pixels of the masks of this value are not known: neither learned nor scored.",
        metavar="VALUE",
        rich_help_panel=DATA,
    ),
]
AnnotatedClassOption = Annotated[
    str,
    typer.Option(
        "--annotated-class",
        help="Class of drawn shapes in which all is annotated: outside of them nothing is known.",
        metavar="NAME",
        rich_help_panel=DATA,
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=OUTPUTS)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUTS)]
NoProgressOption = Annotated[bool, typer.Option("--no-progress", help="Draw no progress bar.", rich_help_panel=RUN)]

# -- groups ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class OutputOptions:
    """The files to make of each image."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Mask (.tif, .ome.tif, .zarr), or a folder; by default beside the image.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None
    probabilities: Annotated[
        bool, typer.Option(help="Write the class probabilities too, float32.", rich_help_panel=OUTPUTS)
    ] = False
    overlay: Annotated[bool, typer.Option(help="Write a PNG to look at.", rich_help_panel=OUTPUTS)] = False
    layout: Annotated[
        Layout,
        typer.Option(
            "--layout",
            help="Of TIFF masks: strips, which every program opens; tiles with a pyramid; auto: tiles from 100 MPx on.",
            rich_help_panel=OUTPUTS,
        ),
    ] = "auto"
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            help="Say what was done of each image, and how far to trust it: a page (.html), or .json; twice for both.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None
    overwrite: OverwriteOption = False


@dataclass(frozen=True, eq=False, repr=False)
class RuntimeOptions:
    """What runs the model."""

    device: DeviceOption = "auto"
    runtime: RuntimeOption = "auto"
    precision: PrecisionOption = None


@dataclass(frozen=True, eq=False, repr=False)
class TileOptions:
    """How an image is cut into tiles, and what becomes of them."""

    tile_size: TileSizeOption = None
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", "-b", min=1, help="Tiles in one submission, on a GPU.", rich_help_panel=TILES),
    ] = 1
    max_memory: Annotated[
        int | None,
        typer.Option(
            "--max-memory",
            help="Most that the process may hold: 2GiB.",
            show_default="a quarter of what is free",
            metavar="SIZE",
            parser=parse.byte_count,
            rich_help_panel=TILES,
        ),
    ] = None
    tta: TtaOption = False
    skip_background: Annotated[
        bool,
        typer.Option(
            "--skip-background",
            help="Do not compute uniform tiles, such as glass: they are class 0.",
            rich_help_panel=TILES,
        ),
    ] = False


@dataclass(frozen=True, eq=False, repr=False)
class ReadingOptions:
    """How images are read, beyond what their files say."""

    channel: ChannelOption = None
    palette: Annotated[
        Palette,
        typer.Option(
            "--palette",
            help="Images with a colour table: index for the stored numbers, colour for their colours.",
            rich_help_panel=IMAGE,
        ),
    ] = "auto"
    nodata: NodataOption = None
    timeout: TimeoutOption = 20

    def reading(self) -> "Reading":
        """How images are read, as the library says it."""
        from unet_deploy.images.reading import Reading

        return Reading(parse.channel(self.channel), self.palette, self.nodata, self.timeout)


@dataclass(frozen=True, eq=False, repr=False)
class PartOptions(ReadingOptions):
    """What of each image is looked at."""

    level: Annotated[
        int | None,
        typer.Option(
            "--level",
            help="Level of a pyramid, 0 the finest; auto for the model's pixel size.",
            metavar="N|auto",
            parser=parse.level,
            rich_help_panel=IMAGE,
        ),
    ] = 0
    roi: Annotated[
        parse.Box | None,
        typer.Option(
            "--roi",
            help="Only this part: y,x,height,width in pixels of the level; a mask keeps its place.",
            metavar="Y,X,H,W",
            parser=parse.box,
            rich_help_panel=IMAGE,
        ),
    ] = None


@dataclass(frozen=True, eq=False, repr=False)
class ImageOptions(PartOptions):
    """What of each image is segmented."""

    outside: Annotated[
        int,
        typer.Option(
            "--outside", min=0, max=255, help="What the mask has where there is no data.", rich_help_panel=IMAGE
        ),
    ] = 0


@dataclass(frozen=True, eq=False, repr=False)
class RunOptions:
    """Who computes, and whether anything is computed."""

    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on where a run of the same image and settings was broken off.", rich_help_panel=RUN
        ),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print tiles, memory, disk and time; write nothing.", rich_help_panel=RUN),
    ] = False
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="Let a Dask cluster compute: tcp://host:8786.", rich_help_panel=RUN),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Let so many processes of this machine compute.", rich_help_panel=RUN),
    ] = None
    no_progress: NoProgressOption = False


MasksOption = Annotated[
    Path | None,
    typer.Option(
        help="Label stack of the same number of pages, or the name of labels in OME-Zarr images.", rich_help_panel=DATA
    ),
]


@dataclass(frozen=True, eq=False, repr=False)
class MarkingOptions:
    """How annotations are read."""

    mask_kind: MaskKindOption = "auto"
    ignore: IgnoreOption = None
    annotated_class: AnnotatedClassOption = "Annotated"

    def marking(self) -> "Marking":
        """How annotations are read, as the library says it."""
        from unet_deploy.annotations.marking import Marking

        return Marking(self.ignore, self.annotated_class)


@dataclass(frozen=True, eq=False, repr=False)
class DataOptions:
    """Annotated images."""

    data: Annotated[Path, typer.Argument(help="Folder of annotated images, or an image stack (with --masks).")]
    masks: MasksOption = None
    mask_kind: MaskKindOption = "auto"
    ignore: IgnoreOption = None
    annotated_class: AnnotatedClassOption = "Annotated"

    def marking(self) -> "Marking":
        """How annotations are read, as the library says it."""
        from unet_deploy.annotations.marking import Marking

        return Marking(self.ignore, self.annotated_class)


@dataclass(frozen=True, eq=False, repr=False)
class CardOptions:
    """What the model card says and no file knows."""

    pixel_size: Annotated[float | None, typer.Option(help="Micrometres, for the model card.", rich_help_panel=CARD)] = (
        None
    )
    trained_on: Annotated[str, typer.Option(help="What the data is, for the model card.", rich_help_panel=CARD)] = ""
    license: Annotated[
        str, typer.Option(help="The licence of the weights, for the model card.", rich_help_panel=CARD)
    ] = ""

    def fields(self) -> dict[str, Any]:
        """The fields of the card by name, with the command line that is running as what made it."""
        return {
            "pixel_size_um": self.pixel_size,
            "trained_on": self.trained_on,
            "license": self.license,
            "command": shlex.join(["unet-deploy", *map(address, sys.argv[1:])]),
        }
