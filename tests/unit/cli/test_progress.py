"""What a command says while it works: on a terminal, on stderr, and not where JSON was asked for."""

import pytest

from parfocal.cli._progress import progress


@pytest.mark.parametrize("silent", [False, True])
def test_how_far_it_is_is_said_beside_what_is_done(capsys, monkeypatch, silent):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress(silent) as said:
        said("segmenting")
        said("segmenting", "3 of 9")
    out, err = capsys.readouterr()
    assert not out
    assert ("segmenting: 3 of 9" in err) != silent
