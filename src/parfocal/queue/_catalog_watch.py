"""Whether the catalog answers, and what is done where it does not."""

from __future__ import annotations

import time
from collections.abc import Callable

from parfocal.catalog import DataFolder, ensure_server, find_server
from parfocal.errors import ParfocalError
from parfocal.queue._incidents import Incident

_LOOK_S = 2.0
_GRACE_S = 60.0


class CatalogWatch:
    """Sees that the catalog is away, and starts its server where it died, or stays away for a minute.

    Whoever stops a server may mean to start it again with another database: it is given time.
    """

    def __init__(self, folder: DataFolder, tell: Callable[[Incident, str], object]) -> None:
        self._folder = folder
        self._tell = tell
        self._looked_s = 0.0
        self._n_missed = 0
        self._began_s = 0.0
        self._away: Incident | None = None

    def look(self) -> None:
        """Look every two seconds; missed once, it may only be busy."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        if find_server(self._folder) is not None:
            self._n_missed = 0
            if self._away is not None:
                self._tell(self._away, f"back after {time.time() - self._away.began_s:.0f} s")
                self._away = None
            return
        self._n_missed += 1
        if self._n_missed == 1:
            self._began_s = time.time()
            return
        if self._away is None:
            what = "the catalog does not answer; documents wait in write-ahead logs"
            self._away = Incident("catalog_away", what, began_s=self._began_s)
        died = self._folder.server_file.exists()
        if died or time.time() - self._away.began_s > _GRACE_S:
            try:
                ensure_server(self._folder, timeout_s=20.0)
                self._away.actions.append("its server started again")
            except ParfocalError as error:
                said = f"its server could not be started: {error}"
                self._away.actions += [said] if said not in self._away.actions else []

    def close(self) -> None:
        """Tell what is under way."""
        if self._away is not None:
            self._tell(self._away, "it is still away; `parfocal recover` writes what is missing")
            self._away = None
