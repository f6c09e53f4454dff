"""Which logs one who looks on takes for runs that go on."""

from dataclasses import asdict, replace

import pytest

from parfocal.catalog import DataFolder, encode_line
from parfocal.catalog._log import HEADER, LogHeader
from parfocal.queue._night_watch import logged

START = ("start", {"uid": "ab", "time": 1.0, "plan_name": "z_stack"})
STOP = ("stop", {"uid": "cd", "run_start": "ab", "time": 2.0, "exit_status": "success"})


@pytest.mark.parametrize("documents", [[START], [START, STOP]])
def test_a_log_counts_while_the_process_that_writes_it_lives(tmp_path, documents):
    folder, alive = DataFolder(tmp_path), LogHeader.of_this_process()
    folder.wal.mkdir(parents=True)
    for header, expected in ((alive, documents), (replace(alive, process_started_s=1.0), [])):
        lines = [(HEADER, asdict(header)), *documents]
        (folder.wal / "ab.jsonl").write_bytes(b"".join(encode_line(*line) for line in lines))
        assert list(logged(folder)) == expected
