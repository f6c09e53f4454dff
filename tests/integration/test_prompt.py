"""A real IPython, and its own completer, in a process of its own: its magics make a RunEngine that never ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parfocal.catalog import stop_server

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]

_TYPE = """
import json, sys, warnings
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.user_ns["__file__"] = sys.argv[1]
told = {}

def type_in(line):
    done = shell.run_cell(line)
    done.raise_error()
    return done.result

def tab(line):
    with provisionalcompleter():
        return sorted(one.text for one in shell.Completer.completions(line, len(line)))

def shown(name):
    found, _ = shell.display_formatter.format(shell.user_ns[name])
    return [found["text/plain"], found.get("text/html", "")]

type_in(open(sys.argv[1]).read())
type_in("(uid,) = RE(z_stack(microscope, 2, 1, md={'sample': 'slide <7>'})); session.drain()")
type_in("run = catalog.run(uid); (derived, *_) = catalog.analyses_of(run); uid8 = uid[:8]; raw = catalog.raw")
told["uid"] = shell.user_ns["uid"]
told["derived_uid"] = shell.user_ns["derived"].start["uid"]
for line in ('catalog.run("', 'catalog["', 'catalog.raw["', 'session.catalog.run("', 'RE(z_', 'microscope.xy',
             'microscope.camera.expos', 'RE(z_stack(microscope, 2, 1, on_error="', '%mo', 'catalog.run("zzz'):
    told[line] = tab(line)
for name in ("run", "derived", "catalog", "raw", "session", "microscope"):
    told[name] = shown(name)
type_in("%mov microscope.xyz.z 3")
told["z_um"] = shell.user_ns["microscope"].xyz.z.position
print("==== %wa")
type_in("%wa")
print("==== table")
type_in("session.show_live('table'); RE(z_stack(microscope, 1, 1)); session.show_live('')")
print("==== plots")
type_in("session.show_live('plots'); RE(z_stack(microscope, 1, 1)); session.show_live('')")
import matplotlib.pyplot as plt
told["figures"] = len(plt.get_fignums())
print("==== %ct")
type_in("%ct")
type_in("session.drain()")
told["plans"] = [run["start"]["plan_name"] for run in shell.user_ns["catalog"].recent()]
type_in("by_key = catalog[uid8].start['uid']")
told["by_key"] = shell.user_ns["by_key"]
type_in("from parfocal.catalog import stop_server; session.close(); stop_server(catalog.folder)")
told["away"] = [shell.user_ns["catalog"]._repr_html_(), tab('catalog.run("')]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    data = tmp_path_factory.mktemp("prompt") / "data"
    environment = {
        **os.environ, "PARFOCAL_DATA": str(data), "IPYTHONDIR": str(data.parent / "ipython"), "MPLBACKEND": "Agg",
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TYPE, str(ROOT / "profiles/simulated/startup.py")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
        )
    finally:
        stop_server(data)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Warning" not in done.stderr, done.stderr
    *printed, last = done.stdout.splitlines()
    return json.loads(last) | {"printed": "\n".join(printed)}


def test_tab_offers_runs_plans_devices_and_magics(told):
    both = sorted([told["uid"][:8], told["derived_uid"][:8]])
    assert set(both) <= set(told['catalog.run("'])
    assert told['catalog["'] == told['catalog.run("'] == told['session.catalog.run("']
    assert told['catalog.raw["'] == [told["uid"][:8]]
    assert told["RE(z_"] == ["z_burst", "z_stack", "z_stack_audited"]
    assert told["microscope.xy"] == ["xyz"]
    assert told["microscope.camera.expos"] == ["exposure_s"]
    assert told['RE(z_stack(microscope, 2, 1, on_error="'] == ["abort", "retry", "skip"]
    assert {"%mov", "%movr"} <= set(told["%mo"])
    assert not set(both) & set(told['catalog.run("zzz'])


def test_runs_and_catalogs_show_what_they_are_and_escape_what_users_wrote(told):
    text, page = told["run"]
    assert text.startswith("1 z_stack\n")
    assert "success after" in text
    assert "half_range_um=2" in text
    assert "<b>1 z_stack</b><table>" in page
    assert "slide &lt;7&gt;" in page
    assert "slide <7>" not in page
    text, _ = told["derived"]
    assert text.startswith("1 focus_scores\n")
    assert told["uid"] in text
    for name in ("catalog", "raw"):
        text, page = told[name]
        assert told["uid"][:8] in text
        assert told["uid"][:8] in page
    assert "RunEngine  idle" in told["session"][0]
    assert "catalog    ok" in told["session"][0]
    assert "limits -60 to 60 um" in told["microscope"][0]
    assert told["by_key"] == told["uid"]


def test_the_magics_of_bluesky_move_tell_and_count(told):
    assert told["z_um"] == pytest.approx(3.0, abs=0.2)
    where = told["printed"].partition("==== %wa")[2].partition("==== table")[0]
    assert "motors" in where
    assert "stage_z" in where
    assert told["plans"] == ["count", "z_stack", "z_stack", "z_stack"], "what %ct takes is in the catalog"


def test_a_live_table_and_plots_come_where_they_are_asked_for(told):
    before, _, table = told["printed"].partition("==== table")
    table, _, plots = table.partition("==== plots")
    assert "seq_num" not in before
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:] == [
        "1",
        "2",
        "3",
    ]
    assert "stage_z" in plots
    assert told["figures"] >= 1


def test_a_catalog_that_is_away_says_so_and_tab_stays_silent(told):
    page, offered = told["away"]
    assert "does not answer" in page
    assert told["uid"][:8] not in offered
