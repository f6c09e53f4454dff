"""`parfocal doctor` as it is typed."""

import json

import pytest

from parfocal.catalog import DataFolder, write_private
from parfocal.cli import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *(str(a) for a in arguments)])
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


def test_a_fault_is_told_with_what_to_do_and_by_the_exit_code(tmp_path, capsys):
    folder = DataFolder(tmp_path).make()
    write_private(folder.server_file, {"pid": 1})
    folder.server_file.chmod(0o644)
    code, said, _ = run(capsys, "--data", tmp_path, "--frame", "32x32", "--rate", 1)
    assert code == 2
    assert f"fail  folders: private: others can read {folder.server_file}" in said
    assert f"-> chmod 600 {folder.server_file}" in said
    folder.server_file.unlink()
    code, said, _ = run(capsys, "--data", tmp_path, "--frame", "32x32", "--rate", 1, "--json")
    assert code == 0
    checks = json.loads(said)
    assert {"name", "state", "found", "advice"} == set(checks[0])
    assert "32x32" in next(check["found"] for check in checks if check["name"] == "disk: rate")


@pytest.mark.parametrize("arguments", [["--frame", "big"], ["--frame", "0x10"], ["--devices"]])
def test_what_cannot_be_done_is_told_in_a_line(arguments, capsys):
    code, _, error = run(capsys, *arguments)
    assert code == 2
    assert len(error.strip().splitlines()) == 1
