"""Options and arguments that several commands of `parfocal slices` share."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from parfocal.errors import BadInputError


class Compat(StrEnum):
    """Whose numbers and rules are reproduced."""

    linumpy = "linumpy"


class Model(StrEnum):
    """What a pairwise transform may be."""

    rigid = "rigid"
    affine = "affine"
    translation = "translation"


class Method(StrEnum):
    """How a missing section is made."""

    zmorph = "zmorph"
    weighted = "weighted"
    average = "average"


LedgerArgument = Annotated[Path, typer.Argument(help="A slice_config.csv, ours or linumpy's.", show_default=False)]
OutArgument = Annotated[Path, typer.Argument(help="The new slice_config.csv.", show_default=False)]
LenientOption = Annotated[
    bool, typer.Option("--lenient", help="Read what can be guessed (y, n, blank use, CRLF); say so.")
]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace an output that is there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

SectionsArgument = Annotated[
    Path, typer.Argument(help="Folder of *z<digits>*.ome.zarr or TIFF sections, or a z-stack.", show_default=False)
]
ShiftsArgument = Annotated[Path, typer.Argument(help="A shifts_xy.csv.", show_default=False)]
ShiftsOption = Annotated[Path | None, typer.Option("--shifts", help="A shifts_xy.csv.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--slice-config", "--slice_config", help="Ledger: who is used. Default: all.")
]
VoxelOption = Annotated[
    str | None, typer.Option("--voxel-um", help="Voxel size z,y,x, um, where the files do not say.")
]
MadeOption = Annotated[Path | None, typer.Option("--interpolated", help="Folder that `interpolate` wrote.")]
GapsOption = Annotated[bool, typer.Option("--gaps/--no-gaps", help="Keep the room of missing sections along z.")]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Folder for the report, HTML and JSON.")]
WindowOption = Annotated[
    int,
    typer.Option("--overlap-search-window", "--overlap_search_window", min=1, help="Planes sought at each cut."),
]
SlabOption = Annotated[
    int, typer.Option("--reference-slab-size", "--reference_slab_size", min=1, help="Planes averaged.")
]
MaxTranslationOption = Annotated[
    float, typer.Option("--max-translation-px", "--max_translation_px", help="Beyond it, no confidence is added.")
]
MaxRotationOption = Annotated[
    float, typer.Option("--max-rotation-deg", "--max_rotation_deg", help="Beyond it, no confidence is added.")
]
HighOption = Annotated[
    float, typer.Option("--confidence-high", "--confidence_high", help="From here, the whole transform is used.")
]
LowOption = Annotated[
    float, typer.Option("--confidence-low", "--confidence_low", help="From here, its rotation alone.")
]
MethodOption = Annotated[Method, typer.Option("--method", help="By registration, or a blend without any.")]
OverlapOption = Annotated[
    float,
    typer.Option("--min-overlap-correlation", "--min_overlap_correlation", help="Gate before registration."),
]
ForegroundOption = Annotated[
    float,
    typer.Option("--min-foreground-fraction", "--min_foreground_fraction", help="Of a plane that counts."),
]
ImprovementOption = Annotated[
    float, typer.Option("--min-ncc-improvement", "--min_ncc_improvement", help="Gate after registration.")
]
FinalOption = Annotated[
    float, typer.Option("--min-final-ncc", "--min_final_ncc", help="Or taken when as alike as this.")
]
IterationsOption = Annotated[
    int, typer.Option("--max-iterations", "--max_iterations", min=1, help="Of the registration, at each level.")
]
MultipleOption = Annotated[
    bool, typer.Option("--allow-multiple", "--allow_multiple", help="Make several missing in a row too.")
]
HeldOutOption = Annotated[
    int, typer.Option("--held-out", "--held_out", min=0, help="Sections there to predict, as a check.")
]
SubPixelOption = Annotated[
    bool, typer.Option("--sub-pixel", "--sub_pixel", help="Resample for shifts between pixels.")
]
ConfigInOption = Annotated[
    Path | None, typer.Option("--slice-config-in", "--slice_config_in", help="The ledger to stamp.")
]
ConfigOutOption = Annotated[
    Path | None, typer.Option("--slice-config-out", "--slice_config_out", help="Where it goes, stamped.")
]
ReadCompatOption = Annotated[
    Compat | None, typer.Option("--compat", help="Read slice_config.csv as linumpy writes it.")
]
MetricsOption = Annotated[
    Path | None, typer.Option("--metrics", help="Folder for the raw numbers, one JSON a slice.")
]
ExcludeOption = Annotated[list[str] | None, typer.Option("--exclude", help="Slices not to use: 2 5, or 2,5.")]
ExcludeFirstOption = Annotated[
    str,
    typer.Option("--exclude-first", "--exclude_first", help="How many, or auto: those that are too thick."),
]
DetectGalvoOption = Annotated[
    bool, typer.Option("--detect-galvo", "--detect_galvo", help="Look for a misplaced galvo return.")
]
TilesOption = Annotated[
    Path | None, typer.Option("--tiles-dir", "--tiles_dir", help="Raw tiles for --detect-galvo.")
]
ExtraLinesOption = Annotated[
    int | None, typer.Option("--n-extra", "--n_extra", help="Lines of its way back, where tiles do not say.")
]
GalvoThresholdOption = Annotated[
    float, typer.Option("--galvo-threshold", "--galvo_threshold", help="Confidence from which it is mended.")
]
MaxShiftOption = Annotated[
    float, typer.Option("--max-shift-mm", "--max_shift_mm", help="No shorter step is looked at.")
]
TileStepOption = Annotated[
    str, typer.Option("--tile-fov-mm", "--tile_fov_mm", help="Tile step to take out, mm, x,y or auto.")
]
MinQualityOption = Annotated[
    str,
    typer.Option(
        "--min-quality", "--min_quality", help="Leave out what is below; auto: by the stack's own median."
    ),
]
CorrelationOption = Annotated[
    float,
    typer.Option("--z-corr-threshold", "--z_corr_threshold", "--enter", help="A noisy cluster begins below it."),
]
ClusterOption = Annotated[
    str,
    typer.Option(
        "--z-corr-threshold",
        "--z_corr_threshold",
        "--enter",
        help="A noisy cluster begins below it; auto: by the pairs' own median.",
    ),
]
ConsecutiveOption = Annotated[
    int,
    typer.Option(
        "--consecutive-threshold", "--consecutive_threshold", "--min-run", min=1, help="Fewest pairs of a cluster."
    ),
]
ModelOption = Annotated[Model, typer.Option("--model", help="What a pairwise transform may be.")]


class ManyValues(TyperCommand):
    """A command whose `--exclude` takes several values, `--exclude 2 5`, as linumpy's does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        n_taken = -1  # values since the last --exclude; below 0: none is open
        for word in args:
            if word == "--exclude":
                n_taken = 0
            elif n_taken >= 0 and re.fullmatch(r"\d+(,\d+)*", word):
                spread += ["--exclude", word]
                n_taken += 1
            else:
                spread += [*["--exclude"] * (n_taken == 0), word]
                n_taken = -1
        spread += ["--exclude"] * (n_taken == 0)
        return super().parse_args(ctx, spread)


def leading_slices(text: str) -> int | Literal["auto"]:
    """Return how many leading slices `--exclude-first` means."""
    if text == "auto":
        return "auto"
    if not (text.isascii() and text.isdecimal()) or len(text) > 6:
        raise BadInputError(f"--exclude-first {text!r}: a number of slices was expected, or auto")
    return int(text)


def min_quality_of(text: str) -> float | Literal["auto"]:
    """Return which score `--min-quality` means."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise BadInputError(f"--min-quality {text!r}: a score from 0 to 1 was expected, or auto") from None


def tile_fov(text: str) -> float | tuple[float, float] | Literal["auto"] | None:
    """Return what `--tile-fov-mm` means; None where it is empty."""
    if not text:
        return None
    if text == "auto":
        return "auto"
    try:
        sizes = [float(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (1, 2):
        raise BadInputError(f"--tile-fov-mm {text!r}: a length in mm was expected, two (x,y), or auto")
    return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])


def voxel_of(text: str | None) -> tuple[float, float, float] | None:
    """Return the voxel size (z, y, x), um, that `--voxel-um` means."""
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError:
        raise BadInputError(f"--voxel-um {text}: three numbers z,y,x were expected, um") from None
    if not all(0 < v < float("inf") for v in (z, y, x)):
        raise BadInputError(f"--voxel-um {text}: three positive numbers were expected")
    return z, y, x
