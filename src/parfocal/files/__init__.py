"""Files in and out: any image file as a `Stack`, writing that never leaves half a file."""

from parfocal.files._csv import CsvTable, csv_text, formula_in, read_csv
from parfocal.files._names import natural_key
from parfocal.files._open import open_stack
from parfocal.files._safe_write import within, write_atomically
from parfocal.files._stack import AxesUnknownError, Stack, VoxelSize

__all__ = [
    "AxesUnknownError",
    "CsvTable",
    "Stack",
    "VoxelSize",
    "csv_text",
    "formula_in",
    "natural_key",
    "open_stack",
    "read_csv",
    "within",
    "write_atomically",
]
