"""Calcium at puncta: light read where each punctum is, events, and what they have to do with it."""

from parfocal.puncta.calcium._baseline import BaselineSettings, baseline, noise_sd
from parfocal.puncta.calcium._events import EventSettings, find_events
from parfocal.puncta.calcium._reading import Readings, ReadSettings, join_readings, read_signals
from parfocal.puncta.calcium._traces import calcium_traces, estimate_bleed_through, traces_of

__all__ = [
    "BaselineSettings",
    "EventSettings",
    "ReadSettings",
    "Readings",
    "baseline",
    "calcium_traces",
    "estimate_bleed_through",
    "find_events",
    "join_readings",
    "noise_sd",
    "read_signals",
    "traces_of",
]
