"""What the whole chain does, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from parfocal.slices.sections._interpolate import InterpolateSettings
from parfocal.slices.sections._register_pair import RegisterSettings

FINAL_CONFIG = "slice_config_final.csv"


@dataclass(frozen=True)
class RunSettings:
    """What `run_sections` does; the names of the seed's parameters where it has them.

    Attributes
    ----------
    generate_slice_config : bool
        Begin a `slice_config.csv` where none is given; else every section is used.
    detect_galvo, galvo_confidence_threshold, tiles_dir, n_extra
        Look for the galvo's way back in raw tiles, and from which confidence it is to be mended.
    detect_rehoming, max_shift_mm, tile_fov_mm
        Take out of the shifts what no sample made; see `detect_rehoming`.
    auto_assess_quality, min_quality
        Score each section, and leave out those below; "auto" goes by the scores of the stack itself.
    exclude, exclude_first
        Slices not to use; see `generate`.
    interpolate_missing_slices, allow_multiple, n_held_out
        See `interpolate_missing`.
    z_corr_threshold, z_corr_leave, consecutive_threshold
        See `exclude_noisy_clusters`.
    sub_pixel, keep_gaps
        See `align`.
    voxel_size_um : tuple of float, optional
        (z, y, x), um; overrules the files.
    compat : "linumpy", optional
        Read the ledger that is given as the original writes it; see `SliceLedger.read`.
    register, interpolate
        Their settings.
    """

    generate_slice_config: bool = True
    detect_galvo: bool = False
    galvo_confidence_threshold: float = 0.6
    tiles_dir: Path | None = None
    n_extra: int | None = None
    detect_rehoming: bool = True
    max_shift_mm: float = 0.5
    tile_fov_mm: float | tuple[float, float] | Literal["auto"] | None = None
    auto_assess_quality: bool = False
    min_quality: float | Literal["auto"] = 0.3
    exclude: tuple[str, ...] = ()
    exclude_first: int | Literal["auto"] = "auto"
    interpolate_missing_slices: bool = True
    allow_multiple: bool = False
    n_held_out: int = 3
    z_corr_threshold: float = 0.4
    z_corr_leave: float = 0.5
    consecutive_threshold: int = 3
    sub_pixel: bool = False
    keep_gaps: bool = True
    voxel_size_um: tuple[float, float, float] | None = None
    compat: Literal["linumpy"] | None = None
    register: RegisterSettings = field(default_factory=RegisterSettings)
    interpolate: InterpolateSettings = field(default_factory=InterpolateSettings)


@dataclass(frozen=True)
class SectionsRun:
    """What a run left behind.

    Attributes
    ----------
    folder : Path
        With a folder for each stage.
    slice_config : Path
        `slice_config_final.csv`.
    aligned, stacked : Path
        The volumes.
    metrics : Path
        Folder of raw numbers, one JSON a slice.
    messages : tuple of (stage, message)
        What the stages said, in order.
    done, skipped : tuple of str
        Stages that this run did, and those it found done.
    """

    folder: Path
    slice_config: Path
    aligned: Path
    stacked: Path
    metrics: Path
    messages: tuple[tuple[str, str], ...]
    done: tuple[str, ...]
    skipped: tuple[str, ...]
