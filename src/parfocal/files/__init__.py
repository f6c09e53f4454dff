"""Files in and out: any image file as a `Stack`, writing that never leaves half a file."""

from parfocal.files._csv import CsvTable, csv_text, formula_in, read_csv
from parfocal.files._names import natural_key
from parfocal.files._ome_tiff import write_ome_tiff
from parfocal.files._ome_zarr import (
    ZarrVolume,
    ZarrVolumeWriter,
    open_ome_zarr,
    read_ome_zarr,
    write_ome_zarr,
    writing_ome_zarr,
)
from parfocal.files._open import nd2_time_stamps_s, open_stack
from parfocal.files._safe_write import refuse_input, within, write_atomically
from parfocal.files._stack import AxesUnknownError, Stack, VoxelSize

__all__ = [
    "AxesUnknownError",
    "CsvTable",
    "Stack",
    "VoxelSize",
    "ZarrVolume",
    "ZarrVolumeWriter",
    "csv_text",
    "formula_in",
    "natural_key",
    "nd2_time_stamps_s",
    "open_ome_zarr",
    "open_stack",
    "read_csv",
    "read_ome_zarr",
    "refuse_input",
    "within",
    "write_atomically",
    "write_ome_tiff",
    "write_ome_zarr",
    "writing_ome_zarr",
]
