import os

import pytest

from parfocal.errors import BadInputError
from parfocal.files import natural_key, within, write_atomically


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with write_atomically(target) as temporary:
        temporary.write_text("half of the n")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_failed_write_leaves_the_old_file_and_no_crumbs(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")

    def fail():
        with write_atomically(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_missing_folder_and_a_block_that_writes_nothing_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="no folder"), write_atomically(tmp_path / "no" / "a.csv"):
        pass
    with pytest.raises(BadInputError, match="nothing was written"), write_atomically(tmp_path / "a.csv"):
        pass
    assert os.listdir(tmp_path) == []


def test_paths_inside_the_root_are_resolved(tmp_path):
    assert within(tmp_path, "a/../b.tif") == (tmp_path / "b.tif").resolve()
    assert within(tmp_path, tmp_path / "a" / "b") == (tmp_path / "a" / "b").resolve()
    assert within(tmp_path, ".") == tmp_path.resolve()


@pytest.mark.parametrize("path", ["../b.tif", "a/../../b.tif", "/etc/passwd"])
def test_paths_out_of_the_root_are_refused(tmp_path, path):
    with pytest.raises(BadInputError, match="outside"):
        within(tmp_path, path)


def test_a_link_out_of_the_root_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(BadInputError, match="outside"):
        within(tmp_path / "root", "link/secret")


def test_a_root_that_is_only_a_prefix_does_not_count(tmp_path):
    with pytest.raises(BadInputError, match="outside"):
        within(tmp_path / "data", tmp_path / "data2" / "a")


def test_natural_order_counts_as_people_do():
    names = ["z10.tif", "z9.tif", "ZStep_2/a.tif", "ZStep_10/a.tif", "z1.tif", "a10b2", "a10b10", "a9"]
    assert sorted(names, key=natural_key) == [
        "a9", "a10b2", "a10b10", "z1.tif", "z9.tif", "z10.tif", "ZStep_2/a.tif", "ZStep_10/a.tif",
    ]  # fmt: skip
