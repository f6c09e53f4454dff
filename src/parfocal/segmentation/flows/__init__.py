"""From labels to flows and from flows to labels."""

from parfocal.segmentation.flows._targets import (
    flow_errors,
    flow_targets,
)

__all__ = [
    "flow_errors",
    "flow_targets",
]
