"""How good puncta are: against the truth, against what physics allows, and against what was asked for."""

from parfocal.puncta.evaluation._matching import Matching, efficiency, match_localizations

__all__ = ["Matching", "efficiency", "match_localizations"]
