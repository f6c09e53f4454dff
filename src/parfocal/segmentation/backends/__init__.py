"""Ways to find nuclei behind one protocol, and the table of what was found.

`segment_volume` is the door; `BACKENDS` names the ways. Each is imported when it is asked for: none of this needs
PyTorch until a network does.
"""

from parfocal.segmentation.backends._cellpose import Cellpose, CellposeSettings, read_cellpose_weights
from parfocal.segmentation.backends._external import External, ExternalSettings
from parfocal.segmentation.backends._measure import ObjectTable, measure_objects
from parfocal.segmentation.backends._measure_parts import measure_in_parts
from parfocal.segmentation.backends._models import USUAL_MODELS, model_options, model_store, open_model
from parfocal.segmentation.backends._options import LINK_OPTIONS
from parfocal.segmentation.backends._registry import (
    BACKENDS,
    DEFAULT_BACKEND,
    LINKS_PLANES,
    TELLS_PROGRESS,
    default_backend,
    open_backend,
)
from parfocal.segmentation.backends._segment import segment_volume
from parfocal.segmentation.backends._watershed import (
    Watershed,
    WatershedSettings,
    label_nuclei,
    measured_diameter_um,
)

__all__ = [
    "BACKENDS",
    "DEFAULT_BACKEND",
    "LINKS_PLANES",
    "LINK_OPTIONS",
    "TELLS_PROGRESS",
    "USUAL_MODELS",
    "Cellpose",
    "CellposeSettings",
    "External",
    "ExternalSettings",
    "ObjectTable",
    "Watershed",
    "WatershedSettings",
    "default_backend",
    "label_nuclei",
    "measure_in_parts",
    "measure_objects",
    "measured_diameter_um",
    "model_options",
    "model_store",
    "open_backend",
    "open_model",
    "read_cellpose_weights",
    "segment_volume",
]
