"""How the sample drifts, from the puncta themselves or from fiducials, and the puncta without it."""

from parfocal.puncta.drift._by_correlation import CorrelationSettings, drift_by_correlation
from parfocal.puncta.drift._by_fiducials import FiducialSettings, drift_by_fiducials
from parfocal.puncta.drift._drift import Drift, corrected, no_drift
from parfocal.puncta.drift._drift_file import read_drift, write_drift

__all__ = [
    "CorrelationSettings",
    "Drift",
    "FiducialSettings",
    "corrected",
    "drift_by_correlation",
    "drift_by_fiducials",
    "no_drift",
    "read_drift",
    "write_drift",
]
