"""A profile of one's own: made whole from a shipped one, and nothing is ever written over."""

import pytest
import yaml

from parfocal.catalog import DataFolder
from parfocal.errors import BadInputError
from parfocal.queue import find_profile, list_profiles, new_profile, shipped_profiles


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path / "data")


@pytest.mark.parametrize("source", ["simulated", "micromanager"])
def test_a_new_profile_is_whole_and_found_by_its_name(folder, source):
    path = new_profile("scope-2", source, folder=folder)
    assert find_profile("scope-2", folder) == path == folder.root / "profiles" / "scope-2"
    assert ("scope-2", path) in list_profiles(folder)
    assert {one.name for one in path.iterdir()} == {
        one.name for one in (shipped_profiles() / source).iterdir() if one.is_file()
    }
    assert (path / "devices.yml").read_text() == (shipped_profiles() / source / "devices.yml").read_text()
    text = (path / "startup.py").read_text()
    assert "profiles/scope-2" in text
    assert f"profiles/{source}" not in text
    assert yaml.safe_load((path / "qs-config.yml").read_text())["network"]["zmq_publish_console"] is True


def test_a_profile_can_be_made_anywhere(folder, tmp_path):
    path = new_profile("bench", out=tmp_path / "elsewhere", folder=folder)
    assert path == tmp_path / "elsewhere" / "bench"
    assert find_profile(path, folder) == path


def test_nothing_is_written_over(folder):
    path = new_profile("scope", folder=folder)
    (path / "devices.yml").write_text("mine")
    with pytest.raises(BadInputError, match="is there already"):
        new_profile("scope", "micromanager", folder=folder)
    assert (path / "devices.yml").read_text() == "mine"


@pytest.mark.parametrize("name", ["", "../scope", "a/b", ".hidden", "7scope", "sc ope", "x" * 41])
def test_a_name_that_is_none_is_refused(folder, name):
    with pytest.raises(BadInputError, match="letters, digits"):
        new_profile(name, folder=folder)
    assert not folder.root.exists()


def test_what_is_no_profile_is_refused(folder, tmp_path):
    with pytest.raises(BadInputError, match="neither a folder nor one of"):
        find_profile("scpoe", folder)
    with pytest.raises(BadInputError, match=r"has no startup\.py"):
        find_profile(tmp_path, folder)
    with pytest.raises(BadInputError, match="made from one of"):
        new_profile("scope", "epics", folder=folder)
