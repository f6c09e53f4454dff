"""The Tiled catalog: serve, open, write, query, recover."""

from parfocal.catalog._claim import claim
from parfocal.catalog._display import run_facts, run_html, run_text, run_title, table_html
from parfocal.catalog._folder import DataFolder
from parfocal.catalog._live_order import live_order
from parfocal.catalog._log import decode_line, encode_line, is_being_written
from parfocal.catalog._open import Catalog, named_site, open_catalog, open_shared_catalog
from parfocal.catalog._query import timestamp_s
from parfocal.catalog._recover import RecoveredRun, recover, recover_result
from parfocal.catalog._remote_frames import remote_frames
from parfocal.catalog._resting import Resting, RestingFile
from parfocal.catalog._serve import ServerInfo, ensure_server, find_server, serve, stop_server
from parfocal.catalog._server_process import AlreadyServedError, only_server, write_private
from parfocal.catalog._unwritten import Unwritten, unwritten
from parfocal.catalog._where import Where
from parfocal.catalog._writer import CatalogHealth, CatalogWriter
from parfocal.catalog._zarr_consolidator import ZarrConsolidator, register_zarr_consolidator

__all__ = [
    "AlreadyServedError",
    "Catalog",
    "CatalogHealth",
    "CatalogWriter",
    "DataFolder",
    "RecoveredRun",
    "Resting",
    "RestingFile",
    "ServerInfo",
    "Unwritten",
    "Where",
    "ZarrConsolidator",
    "claim",
    "decode_line",
    "encode_line",
    "ensure_server",
    "find_server",
    "is_being_written",
    "live_order",
    "named_site",
    "only_server",
    "open_catalog",
    "open_shared_catalog",
    "recover",
    "recover_result",
    "register_zarr_consolidator",
    "remote_frames",
    "run_facts",
    "run_html",
    "run_text",
    "run_title",
    "serve",
    "stop_server",
    "table_html",
    "timestamp_s",
    "unwritten",
    "write_private",
]

register_zarr_consolidator()
