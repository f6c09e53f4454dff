"""Files of JSON that carry the hash of their own content: nobody goes by numbers that were changed by hand."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from parfocal.errors import BadInputError


@dataclass(frozen=True)
class SealedJson:
    """One kind of such files: its format, the version of that, content, and SHA-256 of the content.

    Attributes
    ----------
    format : str
        What the file says it is, such as `parfocal-calibration`.
    version : int
        Of the format.
    key : str
        Where the content stands.
    lacking : str
        What errors say of another file, such as `is no calibration`.
    expected : str
        What they say was expected, such as `a saved calibration`.
    """

    format: str
    version: int
    key: str
    lacking: str
    expected: str

    def to_text(self, content: Mapping[str, Any]) -> str:
        """Return plain content (see `plain`) as text: format, version, hash, content."""
        whole = {
            "format": self.format,
            "version": self.version,
            "sha256": content_hash(content),
            self.key: content,
        }
        return json.dumps(whole, indent=1, allow_nan=False) + "\n"

    def content_of(self, text: str, name: str) -> dict[str, Any]:
        """Return the content of a text; `name` is what errors call it.

        Raises
        ------
        BadInputError
            Not JSON, another format or version, or the content was changed after it was written.
        """
        try:
            whole = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadInputError(f"{name}: is not JSON ({error}); expected {self.expected}") from None
        if not isinstance(whole, dict) or whole.get("format") != self.format:
            raise BadInputError(f"{name}: {self.lacking}; expected a file with format {self.format!r}")
        if whole.get("version") != self.version:
            raise BadInputError(
                f"{name}: is of version {whole.get('version')!r}, expected {self.version}; calibrate again"
            )
        content = whole.get(self.key)
        if not isinstance(content, dict) or whole.get("sha256") != content_hash(content):
            raise BadInputError(
                f"{name}: was changed after it was saved, its hash does not match; calibrate again"
            )
        return content


def content_hash(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain content in canonical form: keys sorted, no blanks."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def plain(value: Any) -> Any:
    """Return JSON's own kinds: arrays become lists, and what is not finite null, for which JSON has no word."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
