"""Frames through the server: for whoever has the catalog but not the disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import numpy as np
from bluesky_tiled_plugins import BlueskyRun
from numpy.typing import NDArray

from parfocal.catalog._clients import read_array
from parfocal.catalog._live_order import NamedDocument
from parfocal.catalog._open import Catalog
from parfocal.errors import BadInputError

_MOST_OPEN = 32


def remote_frames(
    catalog: Catalog, *runs: str | int | BlueskyRun | list[NamedDocument]
) -> Callable[[str, int], NDArray[np.generic]]:
    """Return the last resort of `Frames(remote=...)`: frames of these runs through the Tiled client.

    About 200 ms a frame of 2048x2048, where the local Zarr takes a few: for people at another machine.

    Parameters
    ----------
    catalog
        Where the runs are.
    runs
        Uids or their beginnings, run clients, or the documents of a run where they are at hand; the arrays of
        others are not known.

    Returns
    -------
    callable
        `(uri, index) -> [y, x]`; raises `BadInputError` for an address that belongs to none of the runs.
    """
    places: dict[str, tuple[str, str, str]] = {}
    for which in runs:
        streams: dict[str, str] = {}
        arrays: dict[str, tuple[str, str]] = {}
        uid = ""
        for name, doc in which if isinstance(which, list) else catalog.documents(catalog.run(which)):
            if name == "start":
                uid = doc["uid"]
            elif name == "descriptor":
                streams[doc["uid"]] = doc["name"]
            elif name == "stream_resource":
                # As Tiled keeps it; live documents have it percent-encoded.
                arrays[doc["uid"]] = (unquote(doc["uri"]), doc["data_key"])
            elif name == "stream_datum":  # the same key may be in two streams, with an array each
                address, key = arrays[doc["stream_resource"]]
                places[address] = (uid, streams[doc["descriptor"]], key)
    clients: OrderedDict[str, Any] = OrderedDict()

    def get(uri: str, index: int) -> NDArray[np.generic]:
        address = unquote(uri)
        if address not in places:
            raise BadInputError(f"frames at {uri} belong to none of the runs that were named")
        if address not in clients:
            uid, stream, key = places[address]
            run: Any = catalog.run(uid)
            clients[address] = run[stream].base[key]
            while len(clients) > _MOST_OPEN:
                clients.popitem(last=False)
        return read_array(clients[address], index)

    return get
