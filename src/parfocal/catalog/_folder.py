"""One folder holds everything: pixels, documents, logs, and where its server is."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from parfocal.errors import CatalogError


def default_data_root() -> Path:
    """Return `$PARFOCAL_DATA` where it is set, else the user's data folder for parfocal."""
    told = os.environ.get("PARFOCAL_DATA")
    return Path(told).expanduser() if told else Path(platformdirs.user_data_dir("parfocal"))


@dataclass(frozen=True)
class DataFolder:
    """Where the data of one microscope lie.

    ::

        root/
          frames/        OME-Zarr groups, one a camera and run: the pixels
          wal/           write-ahead logs of runs that the catalog does not yet hold whole
          catalog/       catalog.db, tables.duckdb, arrays/: what Tiled keeps
                         secrets.json, database.json: where it is kept elsewhere (mode 0600)
          calibrations/  of the focus lock, a file each
          characterizations/  of cameras and stages: a file each, maps beside
          models/        that were trained here, with their versions
          corrections/   of labels, with their pixels
          resting/       where microscopes stood before the plans that run now
          server.json    where the running server is (pid, URL, API key; mode 0600)
          server.log     what it said

    Parameters
    ----------
    root
        The folder; `~` is expanded. Made when first needed, see `make`.
    """

    root: Path = field(default_factory=default_data_root)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser().absolute())

    @property
    def frames(self) -> Path:
        """Root of the pixel stores, the only folder outside `catalog` that the server may read."""
        return self.root / "frames"

    @property
    def calibrations(self) -> Path:
        """Calibrations of the focus, a file each."""
        return self.root / "calibrations"

    @property
    def characterizations(self) -> Path:
        """What was measured of cameras and stages, a file each."""
        return self.root / "characterizations"

    @property
    def wal(self) -> Path:
        """Write-ahead logs."""
        return self.root / "wal"

    @property
    def spooled_tables(self) -> Path:
        """Rows of result tables that the catalog does not hold yet."""
        return self.wal / "tables"

    @property
    def models(self) -> Path:
        """Models that were trained here."""
        return self.root / "models"

    @property
    def corrections(self) -> Path:
        """Corrections of labels, with their pixels."""
        return self.root / "corrections"

    @property
    def resting(self) -> Path:
        """Where microscopes stood before the plans that run now, or that were killed: a file each (mode 0600)."""
        return self.root / "resting"

    @property
    def catalog(self) -> Path:
        """What Tiled keeps for itself."""
        return self.root / "catalog"

    @property
    def database_file(self) -> Path:
        """Which database the catalog is in, where it is not the folder's own (mode 0600)."""
        return self.catalog / "database.json"

    @property
    def server_file(self) -> Path:
        """Where a running server says how to reach it."""
        return self.root / "server.json"

    @property
    def server_log(self) -> Path:
        """What the server said."""
        return self.root / "server.log"

    def make(self) -> DataFolder:
        """Make the folder and its parts and try that they can be written to.

        Raises
        ------
        CatalogError
            When it cannot be made or written to.
        """
        if unfit := set("%#?") & set(str(self.root)):
            raise CatalogError(
                f"Data folder {self.root} has {' and '.join(sorted(unfit))} in its path, which Tiled takes for "
                "a part of an address: choose another with --data or PARFOCAL_DATA."
            )
        try:
            for part in (self.frames, self.wal, self.catalog):
                part.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise CatalogError(
                f"Data folder {self.root} cannot be written to ({error.strerror or error}): "
                "choose another with --data or PARFOCAL_DATA, or mend its permissions."
            ) from error
        return self


def as_folder(data: DataFolder | Path | str | None) -> DataFolder:
    """Return the data folder meant: itself, a path, or the default one for None."""
    if isinstance(data, DataFolder):
        return data
    return DataFolder() if data is None else DataFolder(Path(data))
