"""Where the bytes of an array are: this machine's disk, an S3 bucket, or a copy of the disk in one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from parfocal.errors import BadInputError
from parfocal.frames._zarr import path_of

MIRROR_VARIABLE = "PARFOCAL_FRAMES_MIRROR"


@dataclass(frozen=True)
class FramesMirror:
    """A copy in S3 of what lies below a folder, such as `aws s3 sync ROOT s3://BUCKET/PREFIX` makes.

    Attributes
    ----------
    root : Path
        The folder, as addresses in documents name it; it need not be here.
    url : str
        `s3://BUCKET/PREFIX`.
    """

    root: Path
    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "s3" or not parts.netloc:
            raise BadInputError(f"frames mirror {self.url!r}: s3://BUCKET/PREFIX was expected")

    @classmethod
    def from_environment(cls, root: Path) -> FramesMirror | None:
        """Return the mirror of a frames folder that `$PARFOCAL_FRAMES_MIRROR` names; None where it is not set."""
        url = os.environ.get(MIRROR_VARIABLE)
        return cls(root, url) if url else None

    def address_of(self, uri: str) -> str:
        """Return the address in the mirror of a local array; empty where it does not lie below the root."""
        try:
            relative = path_of(uri).relative_to(self.root)
        except (BadInputError, ValueError):
            return ""
        return f"{self.url.rstrip('/')}/{relative.as_posix()}"


def kvstore_of(uri: str) -> dict[str, Any]:
    """Return tensorstore's description of where an array lies: `file:` or `s3:`.

    For S3, credentials come from where every AWS program looks for them; `$AWS_ENDPOINT_URL_S3` or
    `$AWS_ENDPOINT_URL` names another server than Amazon's, `$AWS_REGION` or `$AWS_DEFAULT_REGION` the region.

    Raises
    ------
    BadInputError
        The address is of another kind.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3":
        return {"driver": "file", "path": str(path_of(uri))}
    store = {"driver": "s3", "bucket": parts.netloc, "path": unquote(parts.path).strip("/") + "/"}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        store["endpoint"] = endpoint
        region = region or "us-east-1"  # tensorstore asks for one; servers that are not Amazon's do not care
    return store | ({"aws_region": region} if region else {})
