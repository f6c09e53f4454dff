"""Plans that open runs; `plans.stubs` for what does not."""

from parfocal.plans import stubs
from parfocal.plans._acquire import Policy, acquire
from parfocal.plans._bursts import z_burst
from parfocal.plans._mda import run_mda
from parfocal.plans._parts import Parts, parts_of
from parfocal.plans._stacks import positions, tile_scan, time_lapse, z_stack

__all__ = [
    "Parts",
    "Policy",
    "acquire",
    "parts_of",
    "positions",
    "run_mda",
    "stubs",
    "tile_scan",
    "time_lapse",
    "z_burst",
    "z_stack",
]
