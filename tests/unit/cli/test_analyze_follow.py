"""Which parameter goes to which analysis, and where word of runs is to come from."""

import json

import pytest
from typer.testing import CliRunner

from parfocal.callbacks import WantedAnalysis
from parfocal.cli import commands
from parfocal.cli._analyze_follow import _wanted
from parfocal.errors import BadInputError


def test_parameters_go_to_the_analysis_they_name():
    assert _wanted(["nuclei"], ["backend=watershed"]) == [WantedAnalysis("nuclei", {"backend": "watershed"})]
    both = _wanted(["nuclei", "puncta"], ["nuclei.backend=watershed", "puncta.max_missing=3"])
    assert both == [
        WantedAnalysis("nuclei", {"backend": "watershed"}),
        WantedAnalysis("puncta", {"max_missing": 3}),
    ]
    for given in ("backend=watershed", "slice_audit.tile_px=3", "nuclei.=3"):
        with pytest.raises(BadInputError, match="of which analysis"):
            _wanted(["nuclei", "puncta"], [given])
    with pytest.raises(BadInputError, match="focus_scores, nuclei"):
        _wanted([], [])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--follow", "--analysis", "focus_scores", "--from", "nowhere"], "expected tcp://"),
        (["--once", "--analysis", "focus_scores", "--since", "whenever"], "cannot be read"),
        (["--once", "--analysis", "focus_scores", "-p", "scrore=1"], "no parameter 'scrore'"),
        (["--analysis", "focus_scores"], "say --follow"),
        (["--follow", "puncta", "newest"], "without puncta"),
    ],
)
def test_what_cannot_be_meant_is_refused(served_folder, arguments, complaint):
    where = ["--data", str(served_folder.root)] if "puncta" not in arguments else []
    result = CliRunner().invoke(commands("analyze"), ["analyze", *where, *arguments])
    assert isinstance(result.exception, BadInputError)
    assert complaint in str(result.exception)


def test_once_prints_a_line_of_json_a_result(served_folder):
    arguments = ["analyze", "--once", "--analysis", "focus_scores", "--since", "1s", "--json"]
    result = CliRunner().invoke(commands("analyze"), [*arguments, "--data", str(served_folder.root)])
    assert result.exit_code == 0, result.output
    assert [json.loads(line) for line in result.stdout.splitlines()] == []
