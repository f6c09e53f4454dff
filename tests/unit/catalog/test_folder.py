from __future__ import annotations

from pathlib import Path

import pytest

from parfocal.catalog import DataFolder
from parfocal.errors import CatalogError


def test_a_folder_is_made_with_its_parts(tmp_path):
    folder = DataFolder(tmp_path / "a" / "b").make()
    assert folder.frames.is_dir()
    assert folder.wal.is_dir()
    assert folder.catalog.is_dir()


def test_the_environment_names_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("PARFOCAL_DATA", str(tmp_path / "here"))
    assert DataFolder().root == tmp_path / "here"
    monkeypatch.delenv("PARFOCAL_DATA")
    assert "parfocal" in str(DataFolder().root)


@pytest.mark.parametrize("place", ["file", "/proc/parfocal"])
def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path, place):
    (tmp_path / "file").write_text("")
    if place.startswith("/proc") and not Path("/proc/version").exists():
        pytest.skip("no /proc on this system")
    with pytest.raises(CatalogError) as caught:
        DataFolder(tmp_path / place).make()
    assert "\n" not in str(caught.value)
    assert place in str(caught.value)
    assert "PARFOCAL_DATA" in str(caught.value)
