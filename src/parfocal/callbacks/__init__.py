"""Documents in, documents out: one Analysis per science room, and replay."""

from parfocal.callbacks._analysis import Analysis, NoParameters, RunAnalysis, RunOutcome
from parfocal.callbacks._density_judge import DensityJudge, density_judge
from parfocal.callbacks._derived_run import WrittenVolume
from parfocal.callbacks._find_analysis import good_analysis
from parfocal.callbacks._follow import follow
from parfocal.callbacks._follow_catalog import FollowedRun
from parfocal.callbacks._follow_kafka import KafkaSettings, kafka_source, read_kafka_settings
from parfocal.callbacks._follow_place import WantedAnalysis, ago_s
from parfocal.callbacks._follow_sources import Source, tiled_source, zmq_source
from parfocal.callbacks._follower import FollowState
from parfocal.callbacks._nuclei_lines import nuclei_lines
from parfocal.callbacks._nuclei_review import open_review
from parfocal.callbacks._replay import ANALYSES, analysis_named, replay
from parfocal.callbacks._replay_run import Replayed
from parfocal.callbacks._run_view import RunView
from parfocal.callbacks._slice_ledger import SliceLedgerFiles, ledger_of
from parfocal.callbacks._wire import document_from_wire, document_to_wire, listen, publisher
from parfocal.callbacks.calibration import CalibrationParameters, FocusCalibration
from parfocal.callbacks.characterization import BenchCharacterization
from parfocal.callbacks.focus import FocusParameters, FocusScores, focus_probe
from parfocal.callbacks.puncta import Puncta, PunctaParameters
from parfocal.callbacks.references import emit_reference_calibration, read_thresholds
from parfocal.callbacks.sections import SectionParameters, SectionStages, metrics_of, volumes_of
from parfocal.callbacks.segmentation import Nuclei, NucleiParameters, volume_judge
from parfocal.callbacks.slices import (
    AuditedFrame,
    Place,
    SliceAudit,
    SliceParameters,
    evidence_of,
    grids_of,
    judge_slices,
    stack_of,
    stored_looks,
)

__all__ = [
    "ANALYSES",
    "Analysis",
    "AuditedFrame",
    "BenchCharacterization",
    "CalibrationParameters",
    "DensityJudge",
    "FocusCalibration",
    "FocusParameters",
    "FocusScores",
    "FollowState",
    "FollowedRun",
    "KafkaSettings",
    "NoParameters",
    "Nuclei",
    "NucleiParameters",
    "Place",
    "Puncta",
    "PunctaParameters",
    "Replayed",
    "RunAnalysis",
    "RunOutcome",
    "RunView",
    "SectionParameters",
    "SectionStages",
    "SliceAudit",
    "SliceLedgerFiles",
    "SliceParameters",
    "Source",
    "WantedAnalysis",
    "WrittenVolume",
    "ago_s",
    "analysis_named",
    "density_judge",
    "document_from_wire",
    "document_to_wire",
    "emit_reference_calibration",
    "evidence_of",
    "focus_probe",
    "follow",
    "good_analysis",
    "grids_of",
    "judge_slices",
    "kafka_source",
    "ledger_of",
    "listen",
    "metrics_of",
    "nuclei_lines",
    "open_review",
    "publisher",
    "read_kafka_settings",
    "read_thresholds",
    "replay",
    "stack_of",
    "stored_looks",
    "tiled_source",
    "volume_judge",
    "volumes_of",
    "zmq_source",
]
