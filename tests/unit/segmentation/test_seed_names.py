"""Every name of ours in the table of docs/reference/segmentation.md is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "segmentation.md"
SEED = (
    "Hybrid2D3DBackend True3DBackend Anisotropy3DPreprocessor Cellpose3RestorationEngine UncertaintyEstimator "
    "ModelAdapter ActiveLearningManager SegmentationEngine compute_3d_iou compute_3d_dice "
    "compute_split_merge_errors should_use_restoration min_overlap_ratio max_distance_z restoration_mode "
    "hybrid2d3d identify_uncertain_nuclei CorrectionTracker record_correction should_retrain trigger_retraining "
    "min_corrections_for_training corrections.json gpu_available"
).split()
NAMES = sorted(set(re.findall(r"`(parfocal\.[\w.]+)`", PAGE.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_the_table_can_be_imported(name):
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[n:]:
            found = getattr(found, attribute)
        return
    raise AssertionError(name)


def test_every_class_and_function_of_the_guide_is_in_the_table():
    table = PAGE.read_text(encoding="utf-8")
    assert [name for name in SEED if name not in table] == []
    assert len(NAMES) > 25
