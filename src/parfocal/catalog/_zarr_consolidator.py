"""Growing Zarr arrays in the document model, which BTP's consolidators lack. One file, to offer upstream."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from bluesky_tiled_plugins.writing.consolidators import CONSOLIDATOR_REGISTRY, ConsolidatorBase
from event_model.documents import EventDescriptor, StreamResource
from tiled.structures.data_source import Asset

ZARR_MIMETYPE = "application/x-zarr"


class ZarrConsolidator(ConsolidatorBase):
    """One Zarr array, a directory, whose first axis grows by one row an index.

    The StreamResource's `uri` is the array itself (`file://localhost/data/a.ome.zarr/0`), its `chunk_shape`
    the array's. The array on disk may be longer than what the StreamDatums have announced, because writers
    grow it in blocks: Tiled's adapter reads no further than the registered shape.
    """

    supported_mimetypes: set[str] = {ZARR_MIMETYPE}  # noqa: RUF012  (as the base class has it)
    default_asset_role: str = "data_uri"

    def __init__(self, stream_resource: StreamResource, descriptor: EventDescriptor) -> None:
        super().__init__(stream_resource, descriptor)
        # Tiled takes the path of a file: address as it stands, where documents have it percent-encoded.
        where = unquote(self.uri) if self.uri.startswith("file:") else self.uri
        self.assets = [Asset(data_uri=where, is_directory=True, parameter=self.default_asset_role, num=None)]

    def update_from_stream_resource(self, stream_resource: StreamResource) -> None:
        """Take a further StreamResource of the same array, as a device staged again composes one.

        Raises
        ------
        ValueError
            When it is another array: Tiled reads one Zarr array for one data key of a stream.
        """
        if stream_resource["uri"].rstrip("/") != self.uri.rstrip("/"):
            raise ValueError(
                f"{self.data_key}: one stream holds one Zarr array, {self.uri}; "
                f"{stream_resource['uri']} is another."
            )
        parameters: dict[str, Any] = stream_resource["parameters"]
        if tuple(parameters.get("chunk_shape", ())) != tuple(self.chunk_shape):
            raise ValueError(f"{self.data_key}: chunk_shape of {self.uri} changed within a stream.")


def register_zarr_consolidator() -> None:
    """Let every `TiledWriter` of this process register `application/x-zarr` resources."""
    CONSOLIDATOR_REGISTRY[ZARR_MIMETYPE] = ZarrConsolidator
