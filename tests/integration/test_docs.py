"""Every page does what it says: its Python runs, its commands exist, the places it names are there."""

import doctest
import gc
import re
import shlex
from pathlib import Path

import click
import pytest
import typer
from ophyd import Device

from parfocal.callbacks import ANALYSES
from parfocal.catalog import Catalog
from parfocal.cli import commands
from parfocal.devices import simulated_microscope
from parfocal.plans import (
    acquire_sections,
    calibrate_focus,
    characterize_stage,
    image_puncta,
    run_locked,
    z_burst,
    z_stack,
    z_stack_audited,
)
from parfocal.session import Session
from support import Documents

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"`(?P<file>(?:src|tests|docs|profiles)/[\w/.-]+)(?:::(?P<name>[\w.]+))?`")
# Each takes some seconds, and other tests hold what it tells; README and tutorials stay, however long they take.
LONG = {
    f"docs/how-to/{page}.md"
    for page in (
        "analyze-in-a-process-of-its-own",
        "audit-slices",
        "check-your-machine",
        "hold-focus-under-a-plan",
        "image-puncta",
        "recover-after-a-crash",
        "run-an-mda-sequence",
        "take-a-stack-of-a-moving-sample",
        "use-micro-manager",
    )
}
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page, *languages):
    text = page.read_text()
    return [
        (text.count("\n", 0, match.start("text")), match["text"])
        for match in _BLOCK.finditer(text)
        if match["language"] in languages
    ]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def having(*languages, long=()):
    return [
        pytest.param(page, id=name_of(page), marks=pytest.mark.long if name_of(page) in long else ())
        for page in PAGES
        if blocks(page, *languages)
    ]


@pytest.fixture
def namespace(served_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PARFOCAL_DATA", str(served_folder.root))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    yield names
    for value in list(names.values()):
        if isinstance(value, Session) and not value.RE.loop.is_closed():  # of a page that failed before its end
            value.close()
        elif isinstance(value, Catalog):
            value.close()
        elif isinstance(value, Device):  # its threads would keep it, and the frames that it has formed, for good
            value.destroy()
    names.clear()
    gc.collect()
    gc.freeze()  # what pages have imported stays


@pytest.mark.parametrize("page", having("python", "pycon", long=LONG))
def test_the_code_of_a_page_runs(page, namespace):
    for line, text in blocks(page, "python", "pycon"):
        if text.lstrip().startswith(">>>"):
            examples = doctest.DocTestParser().get_doctest(text, namespace, name_of(page), str(page), line)
            said = []
            doctest.DocTestRunner(optionflags=_OPTIONS).run(examples, out=said.append, clear_globs=False)
            namespace.update(examples.globs)
            assert not said, "".join(said)
        else:
            # Empty lines before it, so that a traceback names the page's own line.
            exec(compile("\n" * line + text, page, "exec"), namespace)


@pytest.mark.parametrize("page", having("console"))
def test_the_commands_of_a_page_exist(page):
    program = typer.main.get_command(commands())
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for _, text in blocks(page, "console"):
        for command in re.findall(r"^\$ (.+)$", text, re.MULTILINE):
            words = shlex.split(command, comments=True)
            if words[0] == "make":
                assert words[1] in targets, f"{command}: no such target"
            elif words[0] == "parfocal":
                _, sub, rest = program.resolve_command(click.Context(program), words[1:])
                sub.make_context(words[1], rest)  # refuses an unknown option or a value of the wrong kind


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in PAGES])
def test_the_places_a_page_names_are_there(page):
    for match in _PLACE.finditer(page.read_text()):
        assert (ROOT / match["file"]).exists(), match["file"]
        if match["name"]:
            last = match["name"].rpartition(".")[2]
            assert re.search(
                rf"\b(def|class) {last}\b|^{last}\b", (ROOT / match["file"]).read_text(), re.MULTILINE
            ), match[0]


def test_the_reference_names_every_command_and_option():
    reference = (ROOT / "docs/reference/cli.md").read_text()
    waiting = list(typer.main.get_command(commands()).commands.items())
    for name, command in waiting:
        waiting += [(f"{name} {sub}", one) for sub, one in getattr(command, "commands", {}).items()]
        assert f"## parfocal {name}\n" in reference
        for option in (opt for param in command.params for opt in param.opts if opt.startswith("--")):
            dashed = "--" + option[2:].replace("_", "-")  # where the original has an underscore, both are taken
            assert f"`{option}" in reference or f"`{dashed}" in reference, f"{name} {option}"


def test_the_reference_names_every_key_of_every_document(RE, documents, tmp_path):
    microscope = simulated_microscope("microscope", realtime=False, height_px=64, width_px=64)
    microscope.camera.frames_root = tmp_path
    derived = Documents()
    microscope.focus_camera.frames_root = tmp_path
    microscope.lock.calibrations = tmp_path
    everything = {"section_stages": {"stages": "all"}, "nuclei": {"backend": "watershed"}}
    analyses = [
        cls(settings(**everything.get(name, {})), emit=derived, frames_root=tmp_path)
        for name, (cls, settings) in ANALYSES.items()
    ]
    tokens = {analysis.name: RE.subscribe(analysis) for analysis in analyses}
    RE(z_stack(microscope, 2.0, 1.0))
    for slow in ("nuclei", "puncta"):  # one stack tells all of their keys
        RE.unsubscribe(tokens[slow])
    sweep = calibrate_focus(microscope, exposure_s=0.01, settle_s=0.0, go_to_focus=True)
    for plan in (
        z_burst(microscope, 2.0, 1.0),
        sweep,
        run_locked(microscope, arguments={"half_range_um": 0.1}),
        acquire_sections(microscope, [[0, 0], [5, 0]], refocus="never"),
        z_stack_audited(microscope, 1.0, 0.5),
        image_puncta(microscope, n_frames=2, density_per_um2=[0.01, 1.0], focus_locked=False),
        characterize_stage(microscope, n_steps=2, duration_s=0.01, n_approaches=6, n_pictures=1, settle_s=0.0),
    ):
        RE(plan)
    for analysis in analyses:
        analysis.close()
    microscope.destroy()
    reference = (ROOT / "docs/reference/documents.md").read_text()
    for name, doc in documents.all + derived.all:
        keys = list(doc) + list(doc.get("parfocal", {})) if name in ("start", "stop") else []
        if name == "descriptor":
            keys = [
                *doc["data_keys"],
                *(key for device in doc["configuration"].values() for key in device["data"]),
            ]
        for key in keys:
            generic = re.sub(r"^stage_[xyz]", "stage_z", key)
            generic = re.sub(r"^focus_camera_(?!frame$|t_s$)", "camera_", generic)
            own = re.sub(r"^audit_", "<auditor>_", generic)
            assert f"`{generic}`" in reference or f"`{own}`" in reference, f"{name}: {key}"
