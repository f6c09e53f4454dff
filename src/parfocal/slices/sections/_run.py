"""The whole chain over a stack of serial sections, stage by stage, resumable."""

from __future__ import annotations

import shutil
from pathlib import Path

from parfocal.errors import BadInputError
from parfocal.slices.ledger import SliceLedger, write_metrics
from parfocal.slices.sections._folder import open_sections
from parfocal.slices.sections._resume import Stages
from parfocal.slices.sections._run_settings import FINAL_CONFIG, RunSettings, SectionsRun
from parfocal.slices.sections._run_stages import Progress, StageFiles
from parfocal.slices.sections._shifts import read_shifts


def run_sections(
    sections: Path,
    folder: Path,
    shifts: Path | None = None,
    slice_config: Path | None = None,
    settings: RunSettings | None = None,
    *,
    progress: Progress | None = None,
) -> SectionsRun:
    """Reconstruct a stack: generate, assess, detect-rehoming, register, interpolate, exclude, align, stack.

    Every stage reads the ledger of the one before and writes a new one into its own folder; a stage whose inputs,
    parameters and outputs are as they were is not done again. Nothing that is given is written to.

    Parameters
    ----------
    sections : Path
        Folder of `*z<digits>*.ome.zarr` (or TIFF) sections, or one z-stack file.
    folder : Path
        Where everything goes; made where it is not there. An earlier run in it is resumed.
    shifts : Path, optional
        `shifts_xy.csv`; without it the steps are measured on the images.
    slice_config : Path, optional
        A ledger to begin with.
    settings : RunSettings, optional
        The parameters.
    progress : callable, optional
        Called as `progress(stage, slice id)`; with an empty id when a stage begins.

    Raises
    ------
    BadInputError
        An input is missing or wrong, or no section is left.
    """
    how = settings or RunSettings()
    if how.detect_galvo and how.tiles_dir is None:
        raise BadInputError("run: detect_galvo looks at raw tiles; name their folder with tiles_dir")
    # What is given is read before anything is written: a folder that holds nothing helps nobody.
    if shifts is not None:
        read_shifts(shifts)
    if slice_config is not None:
        SliceLedger.read(slice_config, compat=how.compat).filter_slices_to_use()
    chain = StageFiles(open_sections(sections, how.voxel_size_um), sections, Stages(folder), how, progress)
    ledger = chain.begin(shifts, slice_config)
    if how.auto_assess_quality:
        ledger = chain.assess(ledger)
    at = shifts
    if shifts is not None and how.detect_rehoming:
        ledger, at = chain.rehoming(ledger, shifts)
    ledger, pairs, at = chain.registered(ledger, at)
    made = None
    if how.interpolate_missing_slices:
        ledger, made = chain.interpolated(ledger, at)
    ledger = chain.excluded(ledger, pairs)
    aligned = chain.aligned(ledger, at, made)
    stacked = chain.stacked(ledger, pairs, at, made)
    chain.stages.keep_hashes()
    final, metrics = folder / FINAL_CONFIG, folder / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    for result in chain.results:
        write_metrics(metrics, result)
    metrics.mkdir(exist_ok=True)
    SliceLedger.read(ledger).save(final, replace=True)
    said = tuple((result.stage, message) for result in chain.results for message in result.messages)
    return SectionsRun(
        folder, final, aligned, stacked, metrics, said, tuple(chain.stages.done), tuple(chain.stages.skipped)
    )
