"""How a network for puncta is trained, from beginning to end, and the YAML that says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from parfocal.errors import BadInputError
from parfocal.puncta.networks._loss_settings import LossSettings
from parfocal.puncta.networks._recipe import PatchRecipe
from parfocal.puncta.networks._shape import PunctaNetShape

StageName = Literal["localization", "pseudo_labels", "calcium", "joint"]
STAGES: tuple[StageName, ...] = get_args(StageName)
CALCIUM_WIDTHS = (24, 32)


@dataclass(frozen=True)
class PunctaStage:
    """Steps that belong together.

    Parameters
    ----------
    name : {"localization", "pseudo_labels", "calcium", "joint"}
        What is learnt: where puncta are, from simulated patches (and folders of samples); the same from what the
        classical detector finds in real movies; calcium alone, all else held; both together.
    steps : int
    rate : float
        Learning rate at its highest.
    """

    name: StageName
    steps: int
    rate: float

    def __post_init__(self) -> None:
        if self.name not in STAGES:
            raise BadInputError(f"training: stage {self.name!r} is unknown; expected one of {', '.join(STAGES)}")
        if self.steps < 1 or not self.rate > 0:
            raise BadInputError(f"training: stage {self.name}: steps from 1 on and a rate above 0 are expected")


@dataclass(frozen=True)
class PunctaTraining:
    """One training of a network for puncta.

    Parameters
    ----------
    name : str
        For the card: `puncta`, `puncta-calcium`.
    shape : PunctaNetShape
    stages : tuple of PunctaStage
        One after another; each has its own optimizer.
    patches : PatchRecipe
        The hardest that is shown.
    loss : LossSettings
    batch_size : int
        Patches a step.
    num_workers : int
        Threads that make patches; they change nothing in them.
    scheduler : {"cosine", "constant"}
    weight_decay : float
    val_frequency, save_frequency : int
        After how many steps the network is scored on patches that it is not trained on; and is put down.
    val_patches : int
    use_curriculum : bool
        Begin with few bright puncta; go on to more, and to all there is, when the score stays where it is.
    plateau_checks : int
        Scores in succession without a gain of 1 that are called a plateau.
    easy_share : float
        Of patches that stay easy.
    mixed_precision : bool
        Compute in 16 bits where the processor is made for it; weights stay float32.
    seed : int
        Of weights and patches.
    freeze_encoder : bool
        Hold the encoder in the first stage; for one that was trained before.
    pretrained_encoder, pretrained_localization : path, optional
        Weights (`.safetensors` of `parfocal train puncta`, or `puncta`, which came with parfocal) whose encoder,
        or all of it, this training begins with: its calcium decoder too, where it has one of that shape.
        A network of one channel begins one of two: the second channel's weights in the first layer begin as zeros.
    synthetic_dir, thunderstorm_dir, paired_data, finetune_data : path, optional
        Folders of samples (`movie.tif`, `ground_truth.csv`, `metadata.json`): simulated ones beside the patches;
        real movies with what the classical detector finds in them; pairs of puncta and calcium; samples that
        people have looked at, on which alone the last stage is trained.
    train_split : float
        Share of the samples that is trained on; the others are scored.
    """

    name: str = "puncta"
    shape: PunctaNetShape = field(default_factory=PunctaNetShape)
    stages: tuple[PunctaStage, ...] = (PunctaStage("localization", 4000, 1.5e-3),)
    patches: PatchRecipe = field(default_factory=PatchRecipe)
    loss: LossSettings = field(default_factory=LossSettings)
    batch_size: int = 16
    num_workers: int = 0
    scheduler: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 1e-3
    val_frequency: int = 250
    save_frequency: int = 100
    val_patches: int = 64
    use_curriculum: bool = True
    plateau_checks: int = 2
    easy_share: float = 0.2
    mixed_precision: bool = True
    seed: int = 0
    freeze_encoder: bool = False
    pretrained_encoder: str | None = None
    pretrained_localization: str | None = None
    synthetic_dir: str | None = None
    thunderstorm_dir: str | None = None
    paired_data: str | None = None
    finetune_data: str | None = None
    train_split: float = 0.9

    def __post_init__(self) -> None:
        if not self.stages:
            raise BadInputError("training: no stage; expected at least one")
        for name in ("batch_size", "val_frequency", "save_frequency", "val_patches", "plateau_checks"):
            if getattr(self, name) < 1:
                raise BadInputError(f"training: {name} is {getattr(self, name)!r}; expected at least 1")
        if self.num_workers < 0 or self.seed < 0 or not self.weight_decay >= 0:
            raise BadInputError("training: num_workers, seed and weight_decay are 0 or more")
        if not 0 <= self.easy_share < 1 or not 0 < self.train_split <= 1:
            raise BadInputError("training: easy_share is 0 to below 1, train_split above 0 to 1")
        if self.scheduler not in ("cosine", "constant"):
            raise BadInputError(f"training: scheduler is {self.scheduler!r}; expected cosine or constant")
        if self.patches.crop_px % self.shape.multiple_px:
            raise BadInputError(
                f"training: crop_px is {self.patches.crop_px}; expected a multiple of {self.shape.multiple_px}"
            )
        if any(stage.name in ("calcium", "joint") for stage in self.stages) and not self.shape.calcium_widths:
            raise BadInputError("training: stages calcium and joint need model in_channels 2")
        if self.freeze_encoder and not (self.pretrained_encoder or self.pretrained_localization):
            raise BadInputError(
                "training: freeze_encoder holds an encoder that was never trained; name a pretrained_encoder"
            )
        if self.loss.use_uncertainty_weighting and self.loss.kind == "mixture":
            raise BadInputError(
                "training: use_uncertainty_weighting is sound among losses bounded below by 0 only; expected kind"
                " seed (with kind mixture the tasks' gradients are brought to one length instead)"
            )

    @property
    def steps(self) -> int:
        """In all."""
        return sum(stage.steps for stage in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """Return it as a card keeps it, without the shape and without folders of this machine."""
        content = asdict(self)
        for name in ("shape", "name", *_PATHS):
            del content[name]
        content["patches"] = self.patches.as_dict()
        return content | {"data": [name for name in _PATHS if getattr(self, name)]}


_PATHS = (
    "pretrained_encoder", "pretrained_localization", "synthetic_dir", "thunderstorm_dir", "paired_data",
    "finetune_data",
)  # fmt: skip

_SHIPPED = ("puncta", "puncta-calcium")
RECIPES: Mapping[tuple[str, str], PunctaTraining] = {
    ("puncta", "small"): PunctaTraining(),
    # As the weights in the package were made, but for levels that began after fixed numbers of steps there.
    ("puncta", "shipped"): PunctaTraining(
        stages=(PunctaStage("localization", 1550, 1.5e-3), PunctaStage("localization", 3200, 1.3e-3)), seed=1
    ),
    ("puncta-calcium", "shipped"): PunctaTraining(
        name="puncta-calcium",
        shape=PunctaNetShape(n_channels=2, calcium_widths=CALCIUM_WIDTHS),
        stages=(PunctaStage("joint", 1200, 8e-4), PunctaStage("calcium", 5000, 1.5e-3)),
        pretrained_localization="puncta",
        use_curriculum=False,
        seed=2,
    ),
    ("puncta", "smoke"): PunctaTraining(
        shape=PunctaNetShape(base_channels=4, widths=(8, 8)),
        stages=(PunctaStage("localization", 6, 3e-3),),
        patches=PatchRecipe(crop_px=16, most_puncta=12),
        batch_size=2,
        val_frequency=3,
        save_frequency=2,
        val_patches=2,
    ),
    ("puncta-calcium", "small"): PunctaTraining(
        name="puncta-calcium",
        shape=PunctaNetShape(n_channels=2, calcium_widths=CALCIUM_WIDTHS),
        stages=(
            PunctaStage("localization", 2500, 1.5e-3),
            PunctaStage("calcium", 500, 1.5e-3),
            PunctaStage("joint", 700, 5e-4),
        ),
    ),
    ("puncta-calcium", "smoke"): PunctaTraining(
        name="puncta-calcium",
        shape=PunctaNetShape(n_channels=2, base_channels=4, widths=(8, 8), calcium_widths=(8,)),
        stages=(
            PunctaStage("localization", 2, 3e-3),
            PunctaStage("calcium", 2, 3e-3),
            PunctaStage("joint", 2, 1e-3),
        ),
        patches=PatchRecipe(crop_px=16, most_puncta=12),
        batch_size=2,
        val_frequency=2,
        save_frequency=2,
        val_patches=2,
    ),
}


def puncta_recipe(kind: str, size: str = "small") -> PunctaTraining:
    """Return a training by name: `puncta` or `puncta-calcium`; `small`, `shipped` or `smoke`.

    Raises
    ------
    BadInputError
        There is none of that name.
    """
    if (kind, size) not in RECIPES:
        there = ", ".join(f"{a} {b}" for a, b in RECIPES)
        raise BadInputError(f"training {kind} {size}: unknown; expected one of {there}")
    return RECIPES[kind, size]


def training_from_yaml(path: str | os.PathLike[str], *, kind: str = "puncta") -> PunctaTraining:
    """Return the training that a YAML file says; what it leaves out is as in the recipe `small`.

    Sections and keys are those of the original's `training_localization.yaml` and `training_hybrid.yaml`:

    - `model`: in_channels, base_channels, widths, calcium_widths, pretrained_encoder, pretrained_localization,
      freeze_encoder
    - `data`: synthetic_dir, thunderstorm_dir, paired_data, finetune_data, train_split, batch_size, num_workers
    - `training`: num_iterations, learning_rate, scheduler, val_frequency, save_frequency, val_patches,
      weight_decay, use_curriculum, plateau_checks, easy_share, mixed_precision, seed, stages (a list of name,
      steps, rate)
    - `loss`: the fields of `LossSettings`
    - `patches`: the fields of `PatchRecipe`

    Paths are relative to the file.

    Raises
    ------
    BadInputError
        The file is missing or no YAML, or a key or value is not one of these.
    """
    import yaml

    source = Path(path)
    try:
        content: Any = yaml.safe_load(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"{source}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"{source}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, Mapping):
        raise BadInputError(f"{source}: expected sections {', '.join(_SECTIONS)}")
    sections: dict[str, dict[str, Any]] = {}
    for name, section in content.items():  # pyright: ignore[reportUnknownVariableType]
        if name not in _SECTIONS:
            raise BadInputError(f"{source}: section {name!r} is unknown; expected one of {', '.join(_SECTIONS)}")
        if not isinstance(section, Mapping):
            raise BadInputError(f"{source}: {name} holds no keys; expected some of {', '.join(_SECTIONS[name])}")
        sections[name] = {str(k): v for k, v in section.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        for key in sections[name]:
            if key not in _SECTIONS[name]:
                raise BadInputError(
                    f"{source}: {name}: key {key!r} is unknown; expected one of {', '.join(_SECTIONS[name])}"
                )
    try:
        return _built(sections, kind, source.parent)
    except (TypeError, ValueError) as error:
        if isinstance(error, BadInputError):
            raise BadInputError(f"{source}: {error}") from error
        raise BadInputError(f"{source}: a value is of another kind than expected: {error}") from error


_TRAINING_KEYS = (
    "scheduler", "val_frequency", "save_frequency", "val_patches", "weight_decay", "use_curriculum",
    "plateau_checks", "easy_share", "mixed_precision", "seed",
)  # fmt: skip
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "model": (
        "in_channels", "base_channels", "widths", "calcium_widths", "pretrained_encoder",
        "pretrained_localization", "freeze_encoder",
    ),
    "data": (
        "synthetic_dir", "thunderstorm_dir", "paired_data", "finetune_data", "train_split", "batch_size",
        "num_workers",
    ),
    "training": ("num_iterations", "learning_rate", *_TRAINING_KEYS, "stages"),
    "loss": tuple(f.name for f in fields(LossSettings)),
    "patches": tuple(f.name for f in fields(PatchRecipe)),
}  # fmt: skip


def _built(sections: Mapping[str, Mapping[str, Any]], kind: str, folder: Path) -> PunctaTraining:
    base = puncta_recipe(kind)
    model, data, training = (dict(sections.get(name, {})) for name in ("model", "data", "training"))
    n_channels = int(model.pop("in_channels", base.shape.n_channels))
    shape = PunctaNetShape(
        n_channels=n_channels,
        base_channels=int(model.pop("base_channels", base.shape.base_channels)),
        widths=tuple(int(w) for w in model.pop("widths", base.shape.widths)),
        calcium_widths=tuple(
            int(w) for w in model.pop("calcium_widths", CALCIUM_WIDTHS if n_channels == 2 else ())
        ),
    )
    changes: dict[str, Any] = {**model, **data}
    for name in _PATHS:
        told = changes.get(name)
        if told and not (name.startswith("pretrained") and str(told) in _SHIPPED):
            changes[name] = str(folder / str(told))
    changes |= {name: _number(training[name]) for name in _TRAINING_KEYS if name in training}
    patches = dict(sections.get("patches", {}))
    for name, value in patches.items():
        patches[name] = (
            tuple(_number(v) for v in value) if isinstance(value, list) else _number(value)  # pyright: ignore[reportUnknownVariableType]
        )
    loss = {name: _number(value) for name, value in sections.get("loss", {}).items()}
    stages = _stages(training, base, shape, changes)
    return replace(
        base,
        name="puncta-calcium" if shape.calcium_widths else "puncta",
        shape=shape,
        stages=stages,
        patches=replace(base.patches, **patches),
        loss=replace(base.loss, **loss),
        **changes,
    )


def _stages(
    training: Mapping[str, Any], base: PunctaTraining, shape: PunctaNetShape, data: Mapping[str, Any]
) -> tuple[PunctaStage, ...]:
    """Return the stages as told; else those that the data asks for share the steps."""
    if told := training.get("stages"):
        return tuple(PunctaStage(str(s["name"]), int(s["steps"]), float(s["rate"])) for s in told)  # pyright: ignore[reportArgumentType]
    stages = base.stages if shape.calcium_widths else base.stages[:1]
    if shape.calcium_widths and data.get("pretrained_localization"):
        stages = _of_both_tasks(stages)
    if data.get("thunderstorm_dir"):
        stages = (stages[0], PunctaStage("pseudo_labels", max(1, stages[0].steps // 2), 3e-4), *stages[1:])
    rate = training.get("learning_rate")
    if rate is not None:
        highest = max(stage.rate for stage in stages)
        stages = tuple(replace(stage, rate=stage.rate * float(rate) / highest) for stage in stages)
    return stages if (n := training.get("num_iterations")) is None else shared_out(stages, int(n))


def begun_with(training: PunctaTraining, weights: str) -> PunctaTraining:
    """Return a training that begins with weights and not afresh: one of two channels then teaches both tasks."""
    stages = _of_both_tasks(training.stages) if training.shape.calcium_widths else training.stages
    return replace(training, pretrained_localization=weights, stages=stages)


def _of_both_tasks(stages: tuple[PunctaStage, ...]) -> tuple[PunctaStage, ...]:
    # An encoder that has not seen a second channel could not show the calcium decoder any, if it were held.
    return tuple(stage for stage in stages if stage.name == "joint") or stages


def shared_out(stages: tuple[PunctaStage, ...], steps: int) -> tuple[PunctaStage, ...]:
    """Return the stages with so many steps in all, shared out as they were."""
    if steps < len(stages):
        raise BadInputError(f"training: {steps} steps; expected at least {len(stages)}, one a stage")
    total = sum(stage.steps for stage in stages)
    counts = [max(1, steps * stage.steps // total) for stage in stages]
    counts[0] += steps - sum(counts)
    return tuple(replace(stage, steps=n) for stage, n in zip(stages, counts, strict=True))


def _number(value: Any) -> Any:
    """Return a number where YAML read a string (`1e-3` without a point is one)."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
