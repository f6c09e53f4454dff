"""Plans that open runs; `plans.stubs` for what does not."""

from parfocal.plans import stubs
from parfocal.plans._acquire import Policy, acquire
from parfocal.plans._audited_stack import z_stack_audited
from parfocal.plans._bursts import z_burst
from parfocal.plans._calibrate_focus import calibrate_focus
from parfocal.plans._certain import acquire_until_certain
from parfocal.plans._characterize_camera import characterize_camera
from parfocal.plans._characterize_latency import characterize_latency
from parfocal.plans._characterize_stage import characterize_pixel_size, characterize_stage
from parfocal.plans._focus_lock import (
    engage_lock,
    focus_locked,
    focus_locked_decorator,
    lock_focus,
    release_lock,
)
from parfocal.plans._image_puncta import image_puncta
from parfocal.plans._inject_fault import inject_fault
from parfocal.plans._make_safe import keep_resting, make_safe
from parfocal.plans._mda import run_mda
from parfocal.plans._parts import Parts, parts_of
from parfocal.plans._retrain import retrain_nuclei
from parfocal.plans._run_locked import run_locked
from parfocal.plans._sections import acquire_sections
from parfocal.plans._stacks import positions, tile_scan, time_lapse, z_stack

__all__ = [
    "Parts",
    "Policy",
    "acquire",
    "acquire_sections",
    "acquire_until_certain",
    "calibrate_focus",
    "characterize_camera",
    "characterize_latency",
    "characterize_pixel_size",
    "characterize_stage",
    "engage_lock",
    "focus_locked",
    "focus_locked_decorator",
    "image_puncta",
    "inject_fault",
    "keep_resting",
    "lock_focus",
    "make_safe",
    "parts_of",
    "positions",
    "release_lock",
    "retrain_nuclei",
    "run_locked",
    "run_mda",
    "stubs",
    "tile_scan",
    "time_lapse",
    "z_burst",
    "z_stack",
    "z_stack_audited",
]
