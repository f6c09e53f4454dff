"""Measurements beside peers: ``parfocal bench NAME``.

A benchmark is a function that returns a list of `Row`, named in `BENCHES`; a peer is a script in `peers/`
that the peers' own interpreter runs (`Peer`), measured turn by turn with ours (`interleaved`).
"""

from parfocal.bench._command import BENCHES
from parfocal.bench._command import bench as app
from parfocal.bench._peers import Peer, interleaved, peers_python
from parfocal.bench._table import Row, as_document, as_table

__all__ = ["BENCHES", "Peer", "Row", "app", "as_document", "as_table", "interleaved", "peers_python"]
