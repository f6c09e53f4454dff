"""`parfocal slices select|template|rules`: the frames of a stack that make one good image, and that image."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tifffile
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from parfocal.errors import BadInputError
from parfocal.files import Stack, open_stack, write_atomically
from parfocal.slices.references import load_thresholds
from parfocal.slices.selection import (
    RULES,
    BestImage,
    best_image,
    check_parameters,
    load_template,
    make_template,
    rule_parameters,
    save_template,
)

FileArgument = Annotated[
    str, typer.Argument(help="TIFF, ND2, HDF5 (file.h5:dataset), PNG, or a folder of planes.")
]
AxesOption = Annotated[str | None, typer.Option(help="What its axes are, such as ZYX, where it does not say.")]
AlongOption = Annotated[
    Literal["z", "t"] | None, typer.Option(help="The axis to select along. Default: z where there is one, else t.")
]
AtOption = Annotated[
    list[str] | None, typer.Option("--at", help="Only this index of another axis, such as t=0. May be repeated.")
]


def add_commands(slices: typer.Typer) -> None:
    """Add the commands of this module."""
    slices.command("select")(select_command)
    slices.command("template")(template_command)
    slices.command("rules")(rules_command)


def select_command(
    file: FileArgument,
    rule: Annotated[str | None, typer.Option(help="A rule's name. Default: the one recommended.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE of the rule. May be repeated.")
    ] = None,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Say what speaks for which rule, and go no further.")
    ] = False,
    axes: AxesOption = None,
    along: AlongOption = None,
    at: AtOption = None,
    score: Annotated[str, typer.Option(help="Focus operator.")] = "tenengrad",
    kind: Annotated[
        Literal["debiased", "normalized", "raw"], typer.Option(help="Of the score: less its noise, or raw.")
    ] = "debiased",
    thresholds: Annotated[
        Path | None,
        typer.Option(help="What `slices calibrate` wrote; its best rule, if none is named."),
    ] = None,
    template: Annotated[Path | None, typer.Option(help="A golden template (.npz) to hold frames against.")] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="An image that is not 0 where the one object is that counts, where objects move apart."),
    ] = None,
    compose: Annotated[
        Path | None,
        typer.Option(help="Write the image here (.tif), with its index and confidence maps beside it."),
    ] = None,
    method: Annotated[
        Literal["softmax", "index", "morphseq"], typer.Option(help="How the image is put together.")
    ] = "softmax",
    picture: Annotated[
        Path | None, typer.Option(help="Draw score curve, correlation matrix and frames here (.png).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Select the frames of a stack that make one good image; every stack of a file by itself."""
    console = Console(stderr=as_json)
    calibrated: dict[str, Any] = {}
    why = ""
    if thresholds is not None:
        rule, calibrated, why = _calibrated(thresholds, rule)
    told = {**calibrated, **_parameters(rule, parameter or [])}
    for path, suffixes in ((compose, (".tif", ".tiff")), (picture, (".png",))):
        if path is not None and path.suffix.lower() not in suffixes:
            raise BadInputError(f"{path}: expected a name that ends in {' or '.join(suffixes)}")
        if path is not None and not path.absolute().parent.is_dir():
            raise BadInputError(f"{path}: cannot be written, there is no folder {path.parent}")
    golden = load_template(template) if template is not None else None
    opened = open_stack(file, axes)
    inside = _mask(mask) if mask is not None else None
    how: dict[str, Any] = {"compat": "morphseq"} if method == "morphseq" else {"method": method}
    if why and not as_json:
        console.print(why, markup=False, highlight=False, soft_wrap=True)
    said: list[dict[str, Any]] = []
    made: list[BestImage] = []
    for one in _stacks(opened, along, at or []):
        found = best_image(
            one.frames,
            rule,
            told,
            z_um=one.z_um,
            score=score,
            kind=kind,
            template=golden,
            mask=inside,
            how=how,
            composed=not recommend and (compose is not None or picture is not None),
        )
        made.append(found)
        said.append({"stack": one.name, **_described(found, has_z=one.z_um is not None)})
        if why:
            said[-1]["why"] = why
        if not as_json:
            _show(console, one, found, recommend)
        if picture is not None and not recommend:
            from parfocal.cli._slices_picture import draw_selection

            target = picture if one.alone else picture.with_stem(f"{picture.stem}_{one.label}")
            said[-1]["picture"] = str(draw_selection(target, one.frames, found, f"{Path(file).name} {one.name}"))
    written: list[str] = []
    if compose is not None and not recommend:
        written = _write_images(compose, made, said, opened)
        for path in () if as_json else written:
            console.print(path, soft_wrap=True, markup=False)
    if as_json:
        typer.echo(json.dumps({"file": opened.source, "stacks": said, "files": written}))


def template_command(
    file: FileArgument,
    out: Annotated[Path, typer.Argument(help="The template to write (.npz).")],
    frames: Annotated[str, typer.Option(help="The frames to use, such as 4-8 or 3,5,6; the best one first.")],
    axes: AxesOption = None,
    along: AlongOption = None,
    at: AtOption = None,
    note: Annotated[str, typer.Option(help="What a reader should know.")] = "",
    version: Annotated[int, typer.Option("--template-version", min=1, help="Of the template.")] = 1,
) -> None:
    """Make a golden template of one frame, or of the mean of several, registered."""
    opened = open_stack(file, axes)
    stacks = list(_stacks(opened, along, at or []))
    if len(stacks) != 1:
        raise BadInputError(f"{file}: holds {len(stacks)} stacks; say which with --at, such as --at t=0")
    source = f"{opened.source} {stacks[0].name}".strip()
    made = make_template(stacks[0].frames, _frame_numbers(frames), source=source, note=note, version=version)
    typer.echo(f"{save_template(out, made)}: {len(made.provenance['frames'])} frames, sha256 {made.sha256[:12]}")


def rules_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the rules with their parameters and defaults."""
    listed = {name: rule_parameters(name) for name in RULES}
    if as_json:
        typer.echo(json.dumps(listed))
        return
    shown = Table("rule", "parameters", "", box=None)
    for name, rule in RULES.items():
        told = ", ".join(f"{key}={value}" for key, value in listed[name].items())
        shown.add_row(name, told, (rule.__doc__ or "").splitlines()[0])
    Console().print(shown)


@dataclass(frozen=True)
class _One:
    """One stack of a file."""

    name: str
    label: str
    frames: NDArray[Any]
    z_um: NDArray[np.float64] | None
    alone: bool


def _stacks(opened: Stack, along: str | None, at: list[str]) -> Iterator[_One]:
    """Yield the stacks of a file, `[frame, y, x]`, one for each combination of the other axes."""
    axis = (along or ("z" if "Z" in opened.axes else "t")).upper()
    if axis not in opened.axes:
        raise BadInputError(
            f"{opened.source}: no axis {axis.lower()} to select along, its axes are {opened.axes}; "
            "a stack was expected: if it is one, say so with --axes, such as --axes ZYX"
        )
    chosen: dict[str, int] = {}
    allowed = ", ".join(a.lower() for a in opened.axes[:-2] if a != axis) or "no axis (there is only one stack)"
    for text in at:
        found = re.fullmatch(r"([tpczTPCZ])=(\d+)", text.strip())
        if found is None or found[1].upper() not in opened.axes[:-2] or found[1].upper() == axis:
            raise BadInputError(f"--at {text}: expected one of {allowed} and its index, such as t=0")
        chosen[found[1].upper()] = int(found[2])
        if chosen[found[1].upper()] >= opened.size(found[1].upper()):
            raise BadInputError(f"--at {text}: {opened.source} has {opened.size(found[1].upper())} along it")
    others = [a for a in opened.axes[:-2] if a != axis]
    spans = [[chosen[a]] if a in chosen else range(opened.size(a)) for a in others]
    places = list(itertools.product(*spans))
    for place in places:
        index = dict(zip(others, place))
        several = {a: i for a, i in index.items() if opened.size(a) > 1}
        planes = [opened.plane(**index, **{axis: i}) for i in range(opened.size(axis))]
        z_um = None
        if axis == "Z":
            recorded = opened.z_um[index.get("P", 0)] if opened.z_um is not None else None
            step_um = opened.voxel_size_um[0]
            if recorded is not None and len(recorded) == len(planes):
                z_um = np.asarray(recorded, np.float64)
            elif step_um is not None:
                z_um = np.arange(len(planes)) * step_um
        name = " ".join(f"{a.lower()}={i}" for a, i in several.items())
        yield _One(name, name.replace("=", "").replace(" ", "_"), np.stack(planes), z_um, len(places) == 1)


def _mask(path: Path) -> NDArray[np.bool_]:
    """Return where an image is not 0."""
    opened = open_stack(path)
    if any(opened.size(axis) > 1 for axis in opened.axes[:-2]):
        raise BadInputError(f"{path}: axes {opened.axes}, a mask of one plane [y, x] was expected")
    inside = np.asarray(opened.plane()) != 0
    if not inside.any():
        raise BadInputError(f"{path}: the mask is 0 everywhere; expected the object not to be")
    return inside


def _calibrated(path: Path, rule: str | None) -> tuple[str, dict[str, Any], str]:
    """Return a rule, the best one where none is named, its calibrated parameters, and why it is that one."""
    found = load_thresholds(path)
    if not found.rules:
        raise BadInputError(f"{path}: no rule told its references apart; use --rule without --thresholds")
    names = [one.rule for one in found.rules]
    if rule is not None and rule not in names:
        raise BadInputError(f"{path}: holds nothing for the rule {rule}; expected one of {', '.join(names)}")
    best = found.rules[names.index(rule or names[0])]
    low, high = best.auc_interval
    why = f"{best.rule}: AUC {best.auc:.3f} ({low:.2f} to {high:.2f}) on {len(found.references)} references"
    rivals = [one.rule for one in found.rules if one is not best and one.auc_interval[1] >= low]
    if rule is None and rivals:
        why += (
            f"; the first of {len(rivals) + 1} rules that do about as well ({', '.join(rivals)}): --rule chooses"
        )
    return best.rule, found.parameters_for(best.rule), why


def _parameters(rule: str | None, given: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInputError(f"--parameter {text}: expected NAME=VALUE, such as alpha=0.7")
        try:
            told[name.strip()] = None if value.strip().lower() == "none" else json.loads(value)
        except json.JSONDecodeError:
            told[name.strip()] = value.strip()
    if told and rule is None:
        raise BadInputError("--parameter is of a rule: name it with --rule")
    if rule is not None:
        check_parameters(rule, told)
    return told


def _frame_numbers(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part)
        if ends is None:
            raise BadInputError(f"--frames {text}: expected numbers and ranges, such as 4-8 or 3,5,6")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if last < first:
            raise BadInputError(f"--frames {text}: {part.strip()} counts down; expected {last}-{first}")
        found += range(first, last + 1)
    return found


def _described(found: BestImage, *, has_z: bool) -> dict[str, Any]:
    selection = found.selection
    described: dict[str, Any] = {
        "rule": selection.rule,
        "parameters": dict(selection.parameters),
        "threshold": float(selection.threshold) if np.isfinite(selection.threshold) else None,
        "kept": list(selection.frames),
        "reasons": list(selection.reasons),
        "notes": list(selection.notes),
        "score": found.evidence.score_name,
        "sharpness": [float(v) if np.isfinite(v) else None for v in found.evidence.sharpness],
        "adjacent": [float(v) if np.isfinite(v) else None for v in found.evidence.adjacent],
        "z_um": found.evidence.z_um.tolist() if has_z else None,
    }
    if found.recommendation is not None:
        described["why"] = found.recommendation.why
        described["hints"] = [
            {
                "name": h.name,
                "holds": bool(h.holds),
                "rule": h.rule,
                "parameters": dict(h.parameters),
                "why": h.why,
            }
            for h in found.recommendation.hints
        ]
    return described


def _show(console: Console, one: _One, found: BestImage, only_recommend: bool) -> None:
    if one.name:
        console.print(one.name, style="bold", markup=False)
    if found.recommendation is not None:
        said = found.recommendation
        chosen = ", ".join(f"{key} {value}" for key, value in said.parameters.items())
        console.print(f"{said.rule} ({chosen}): {said.why}", markup=False, highlight=False)
        if only_recommend:
            shown = Table("looked for", "holds", "speaks for", "", box=None)
            for hint in said.hints:
                shown.add_row(hint.name, "yes" if hint.holds else "no", hint.rule, hint.why)
            console.print(shown)
            return
    selection = found.selection
    # A z that the file does not tell is not made up.
    z = [] if one.z_um is None else ["z (um)"]
    shown = Table("frame", *z, found.evidence.score_name, "", box=None)
    for i, reason in enumerate(selection.reasons):
        score = f"{found.evidence.sharpness[i]:.4g}"
        at = [f"{found.evidence.z_um[i]:g}"] if z else []
        shown.add_row(str(i), *at, score, reason or "kept")
    console.print(shown)
    for note in selection.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{selection.rule}: {selection.keep.sum()} of {selection.keep.size} frames kept", highlight=False
    )


def _write_images(path: Path, made: list[BestImage], said: list[dict[str, Any]], opened: Stack) -> list[str]:
    """Write image, index map, confidence and provenance; all stacks of the file in one image."""
    images = [found.composed for found in made]
    empty = [one["stack"] or "the stack" for one, image in zip(said, images) if image is None]
    if empty:
        raise BadInputError(f"{path}: not written: nothing survived in {', '.join(empty)}; relax the rule")
    composed = [image for image in images if image is not None]
    pixels = np.stack([image.image for image in composed])
    if opened.dtype.kind in "ui" and pixels.dtype == np.float32:
        limits = np.iinfo(opened.dtype)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max).astype(opened.dtype)
    index = np.stack([image.index_map for image in composed])
    confidence = np.stack([image.confidence for image in composed])
    facts: dict[str, Any] = {"source": opened.source}
    for name, size in zip(("spacing_z_um", "pixel_y_um", "pixel_x_um"), opened.voxel_size_um):
        if size is not None:
            facts[name] = size
    written: list[str] = []
    for suffix, array in (("", pixels), ("_index", index), ("_confidence", confidence)):
        target = path.with_stem(path.stem + suffix)
        flat = array[0] if len(array) == 1 else array
        with write_atomically(target) as temporary:
            tifffile.imwrite(
                temporary,
                flat,
                compression="zlib",
                photometric="minisblack",
                metadata={"axes": "YX" if flat.ndim == 2 else "TYX", **facts},
            )
        written.append(str(target))
    story = path.with_suffix(".json")
    with write_atomically(story) as temporary:
        stacks = [
            {**one, "composed": dict(image.provenance), "flat_share": float(image.flat.mean())}
            for one, image in zip(said, composed)
        ]
        temporary.write_text(json.dumps({**facts, "stacks": stacks}, indent=1))
    return [*written, str(story)]
