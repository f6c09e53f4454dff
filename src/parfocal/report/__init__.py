"""Pages a person reads in the morning."""

from parfocal.report._calibration_report import (
    CalibrationRun,
    calibration_report,
    draw_calibration,
    read_calibration_run,
    write_calibration_report,
)
from parfocal.report._characterization_report import (
    CharacterizationRun,
    characterization_report,
    characterization_table,
    draw_characterization,
    read_characterization_run,
    write_characterization_report,
)
from parfocal.report._lock_events import EventReader, LockEvent, event_line, explain, is_safeguard
from parfocal.report._lock_report import lock_report, write_lock_report
from parfocal.report._lock_run import LockRun, read_lock_run
from parfocal.report._numbers import ms, nm, percent
from parfocal.report._plot_paper import FigureKind
from parfocal.report._puncta_figures import draw_puncta
from parfocal.report._puncta_numbers import co_occurrence, precision_nm, puncta_report
from parfocal.report._puncta_run import PunctaRun, read_puncta_run
from parfocal.report._references_report import (
    draw_reference_metrics,
    draw_reference_stack,
    references_report,
    write_references_report,
)
from parfocal.report._segmentation_report import (
    Projection,
    draw_projections,
    draw_segmentation,
    write_segmentation_page,
)
from parfocal.report._slices_report import SlicesStory, slices_report, write_slices_report
from parfocal.report._story import DerivedStory, Failure, Incident, RunStory, Story, read_story
from parfocal.report._story_data import story_data
from parfocal.report._story_files import write_story, write_story_figures
from parfocal.report._story_focus import FocusStory, Stretch
from parfocal.report._story_nuclei import NucleiStory
from parfocal.report._story_puncta import PunctaStory, Trace
from parfocal.report._story_slices import Look, SlicesShown

__all__ = [
    "CalibrationRun",
    "CharacterizationRun",
    "DerivedStory",
    "EventReader",
    "Failure",
    "FigureKind",
    "FocusStory",
    "Incident",
    "LockEvent",
    "LockRun",
    "Look",
    "NucleiStory",
    "Projection",
    "PunctaRun",
    "PunctaStory",
    "RunStory",
    "SlicesShown",
    "SlicesStory",
    "Story",
    "Stretch",
    "Trace",
    "calibration_report",
    "characterization_report",
    "characterization_table",
    "co_occurrence",
    "draw_calibration",
    "draw_characterization",
    "draw_projections",
    "draw_puncta",
    "draw_reference_metrics",
    "draw_reference_stack",
    "draw_segmentation",
    "event_line",
    "explain",
    "is_safeguard",
    "lock_report",
    "ms",
    "nm",
    "percent",
    "precision_nm",
    "puncta_report",
    "read_calibration_run",
    "read_characterization_run",
    "read_lock_run",
    "read_puncta_run",
    "read_story",
    "references_report",
    "slices_report",
    "story_data",
    "write_calibration_report",
    "write_characterization_report",
    "write_lock_report",
    "write_references_report",
    "write_segmentation_page",
    "write_slices_report",
    "write_story",
    "write_story_figures",
]
