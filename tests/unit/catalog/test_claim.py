import subprocess
import sys
import threading

import pytest

from parfocal.catalog import DataFolder, claim
from parfocal.errors import CatalogError

HOLD = """
import sys
from pathlib import Path
from parfocal.catalog._claim import claim
from parfocal.catalog._folder import DataFolder
with claim(DataFolder(Path(sys.argv[1])), "result"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path)


def test_a_claim_waits_until_the_other_thread_is_done_and_leaves_nothing(folder):
    order, held = [], threading.Event()

    def second():
        held.wait(5)
        with claim(folder, "result"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with claim(folder, "result"), claim(folder, "another"):
        held.set()
        thread.join(0.2)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert not list((folder.catalog / "claims").iterdir())


def test_only_one_of_many_holds_a_claim_at_a_time(folder):
    inside, most = [], []

    def work():
        for _ in range(20):
            with claim(folder, "result"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 80


def test_what_a_killed_process_held_is_free(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(CatalogError, match="held by another process"), claim(folder, "result", timeout_s=0.1):
            pass
        process.kill()
        process.wait()
    with claim(folder, "result", timeout_s=5):
        pass
