"""Serial sections: judge, repair, align, stack."""

from parfocal.slices.sections._align import Aligned, align
from parfocal.slices.sections._build import BuiltVolume, Slot
from parfocal.slices.sections._chosen import chosen_slices, positions_px
from parfocal.slices.sections._clusters import PairScore, exclude_noisy_clusters
from parfocal.slices.sections._fix_galvo import GalvoFix, RolledSections, decide_galvo_fix, fix_galvo
from parfocal.slices.sections._folder import ChosenSections, SectionFolder, SectionPlanes, open_sections
from parfocal.slices.sections._galvo import (
    GalvoReturn,
    detect_galvo_for_slice,
    detect_galvo_shift,
    find_galvo_return,
)
from parfocal.slices.sections._generate import MOSAICS, TILES, galvo_in_tiles, generate, slice_ids_in
from parfocal.slices.sections._interpolate import (
    METHODS,
    REASONS,
    InterpolateSettings,
    Interpolation,
    interpolate_section,
)
from parfocal.slices.sections._missing import (
    HeldOut,
    Interpolated,
    MissingSection,
    held_out_check,
    interpolate_missing,
    missing_sections,
)
from parfocal.slices.sections._pair_scores import PairCorrelation, read_pair_scores
from parfocal.slices.sections._quality import assess_quality
from parfocal.slices.sections._register import (
    Registration,
    register,
    unreliable_slices,
)
from parfocal.slices.sections._register_pair import (
    VERIFY_MIN_NCC,
    PairRegistration,
    RegisterSettings,
    register_pair,
    verified_pair,
)
from parfocal.slices.sections._registration_file import (
    measured_shifts,
    read_registration,
    with_verified_steps,
    write_registration,
)
from parfocal.slices.sections._rehoming import Rehoming, detect_rehoming
from parfocal.slices.sections._run import run_sections
from parfocal.slices.sections._run_settings import FINAL_CONFIG, RunSettings, SectionsRun
from parfocal.slices.sections._shifts import (
    SHIFT_COLUMNS,
    SectionPositions,
    ShiftTable,
    cumulative_shifts,
    read_shifts,
    write_shifts,
)
from parfocal.slices.sections._source import SectionArrays, SectionSource
from parfocal.slices.sections._stack import stack
from parfocal.slices.sections._thickness import CalibrationSlices, detect_calibration_slices
from parfocal.slices.sections._tiles import RawTile, open_tile
from parfocal.slices.sections._verify_rehoming import verify_by_image

__all__ = [
    "FINAL_CONFIG",
    "METHODS",
    "MOSAICS",
    "REASONS",
    "SHIFT_COLUMNS",
    "TILES",
    "VERIFY_MIN_NCC",
    "Aligned",
    "BuiltVolume",
    "CalibrationSlices",
    "ChosenSections",
    "GalvoFix",
    "GalvoReturn",
    "HeldOut",
    "InterpolateSettings",
    "Interpolated",
    "Interpolation",
    "MissingSection",
    "PairCorrelation",
    "PairRegistration",
    "PairScore",
    "RawTile",
    "RegisterSettings",
    "Registration",
    "Rehoming",
    "RolledSections",
    "RunSettings",
    "SectionArrays",
    "SectionFolder",
    "SectionPlanes",
    "SectionPositions",
    "SectionSource",
    "SectionsRun",
    "ShiftTable",
    "Slot",
    "align",
    "assess_quality",
    "chosen_slices",
    "cumulative_shifts",
    "decide_galvo_fix",
    "detect_calibration_slices",
    "detect_galvo_for_slice",
    "detect_galvo_shift",
    "detect_rehoming",
    "exclude_noisy_clusters",
    "find_galvo_return",
    "fix_galvo",
    "galvo_in_tiles",
    "generate",
    "held_out_check",
    "interpolate_missing",
    "interpolate_section",
    "measured_shifts",
    "missing_sections",
    "open_sections",
    "open_tile",
    "positions_px",
    "read_pair_scores",
    "read_registration",
    "read_shifts",
    "register",
    "register_pair",
    "run_sections",
    "slice_ids_in",
    "stack",
    "unreliable_slices",
    "verified_pair",
    "verify_by_image",
    "with_verified_steps",
    "write_registration",
    "write_shifts",
]
