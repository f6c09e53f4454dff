"""Which frames of a stack make one good image, and that image."""

from parfocal.slices.selection._best_image import BestImage, best_image
from parfocal.slices.selection._compose import ComposedImage, compose, compose_batch
from parfocal.slices.selection._compose_morphseq import compose_morphseq
from parfocal.slices.selection._evidence import Selection, StackEvidence
from parfocal.slices.selection._gather import DEFAULT_SCORE, gather_evidence
from parfocal.slices.selection._matrix_rules import Segment, dbscan_segments, kmeans_segments
from parfocal.slices.selection._recommend import Hint, Recommendation, recommend
from parfocal.slices.selection._rules import NEED_MATRIX, RULES, Rule, check_parameters, rule_parameters, select
from parfocal.slices.selection._template import (
    GoldenTemplate,
    load_template,
    make_template,
    save_template,
    template_ncc,
)

__all__ = [
    "DEFAULT_SCORE",
    "NEED_MATRIX",
    "RULES",
    "BestImage",
    "ComposedImage",
    "GoldenTemplate",
    "Hint",
    "Recommendation",
    "Rule",
    "Segment",
    "Selection",
    "StackEvidence",
    "best_image",
    "check_parameters",
    "compose",
    "compose_batch",
    "compose_morphseq",
    "dbscan_segments",
    "gather_evidence",
    "kmeans_segments",
    "load_template",
    "make_template",
    "recommend",
    "rule_parameters",
    "save_template",
    "select",
    "template_ncc",
]
