"""All models of a data folder: what is there, what is used, and what it came from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from parfocal.errors import BadInputError
from parfocal.learning._adapters import load_adapter, merge_adapters
from parfocal.learning._card import ModelCard
from parfocal.learning._card_json import card_bytes, read_card
from parfocal.learning._networks import build_network
from parfocal.learning._on_disk import read_bytes, sha256, write_bytes
from parfocal.learning._store_journal import Happening, Journal, ModelEvent, one_at_a_time
from parfocal.learning._weights import card_path, load_into, load_weights, save_weights, utc_now

if TYPE_CHECKING:
    from torch import Tensor, nn

SHIPPED = "shipped"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PART_OF_HASH = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True)
class StoredModel:
    """A model and where it is.

    Attributes
    ----------
    card : ModelCard
        `card.weights_sha256` is the model's hash.
    path : Path
        Its weights.
    is_shipped : bool
        It came with the package.
    is_current : bool
        It is what its name stands for.
    """

    card: ModelCard
    path: Path
    is_shipped: bool
    is_current: bool

    @property
    def name(self) -> str:
        """Of the card."""
        return self.card.name

    @property
    def version(self) -> str:
        """Of the card; `shipped` for what came with the package."""
        return SHIPPED if self.is_shipped else self.card.version

    @property
    def weights_sha256(self) -> str:
        """Its hash."""
        return self.card.weights_sha256


class ModelStore:
    """The models of a folder and those that the package ships.

    ```text
    models/
      journal.jsonl                    what was added, promoted, rolled back: what is current follows from it
      nuclei3d/20260301-143000.safetensors, .json
    ```

    Nothing in it is ever changed or deleted: a version is added, a name is pointed elsewhere by one more line.
    Several processes may use one folder.

    Parameters
    ----------
    folder : str or path
        Made with the first model that is added.
    shipped : sequence of paths
        Folders of `NAME.safetensors` and `NAME.json`, which are only read.
    """

    def __init__(self, folder: str | os.PathLike[str], *, shipped: Sequence[str | os.PathLike[str]] = ()) -> None:
        self.folder = Path(folder)
        self._shipped = tuple(Path(path) for path in shipped)
        self._journal = Journal(self.folder / "journal.jsonl")

    def models(self, name: str | None = None) -> tuple[StoredModel, ...]:
        """Return all models (of a name), shipped ones first, then oldest first; damaged ones are left out."""
        promoted = self._promotions()
        found: list[StoredModel] = []
        shipped: set[str] = set()
        for path, is_shipped in self._card_files():
            try:
                card = read_card(path)
            except BadInputError:
                continue  # `check` tells
            weights = path.with_suffix(".safetensors")
            if name not in (None, card.name) or not weights.is_file():
                continue
            if card.version == _kept_version(card) and card.weights_sha256 in shipped:
                continue  # what was kept of shipped weights is listed once
            if is_shipped:
                shipped.add(card.weights_sha256)
            found.append(StoredModel(card, weights, is_shipped, False))
        found.sort(key=lambda m: (m.name, not m.is_shipped, m.card.made, m.card.version))
        current = {m.name: m.weights_sha256 for m in reversed(found) if m.is_shipped}
        current |= {name: stack[-1] for name, stack in promoted.items() if stack}
        return tuple(replace(m, is_current=current.get(m.name) == m.weights_sha256) for m in found)

    def find(self, asked: str, version: str | None = None) -> StoredModel:
        """Return the one model that a text names.

        Parameters
        ----------
        asked : str
            A name (its current version), `name@version`, a version, or at least the first 6 digits of a hash.
        version : str, optional
            Of the name.

        Raises
        ------
        BadInputError
            There is none, or more than one.
        """
        models = self.models()
        name, _, after = asked.partition("@")
        wanted = version or after
        of_name = [m for m in models if m.name == name]
        if of_name and wanted:
            found = [m for m in of_name if m.version == wanted or _begins(m, wanted)]
        elif of_name:
            found = [m for m in of_name if m.is_current]
            if not found:
                newest = of_name[-1].version
                raise BadInputError(
                    f"models: no version of {name} is current; `parfocal models promote {name} {newest}` makes one"
                )
        else:
            found = [m for m in models if not wanted and (m.version == asked or _begins(m, asked))]
        if len(found) == 1:
            return found[0]
        text = f"{name}@{wanted}" if wanted else asked
        if found:
            said = ", ".join(f"{m.name}@{m.version} {m.weights_sha256[:12]}" for m in found)
            raise BadInputError(f"models: {text} is more than one: {said}")
        known = ", ".join(m.version for m in of_name) or ", ".join(dict.fromkeys(m.name for m in models)) or "none"
        raise BadInputError(f"models: there is no {text}; known in {self.folder}: {known}")

    def add(
        self, state_dict: Mapping[str, Tensor], card: ModelCard, *, half: bool = True, reason: str = ""
    ) -> StoredModel:
        """Add a version; it is not used before it is promoted.

        Parameters
        ----------
        state_dict : mapping of str to tensor
            Weights, or what `adapter_state` returned (with the card of `adapter_card`).
        card : ModelCard
            An empty `version` becomes the time.
        half : bool
            Store 16-bit floats.
        reason : str
            For the journal.

        Raises
        ------
        BadInputError
            The name or version cannot be a file's, the version is there already, an adapter's base is not
            known, or nothing can be written.
        """
        for what, text in (("name", card.name), ("version", card.version or "0")):
            if not _WORD.fullmatch(text) or text.endswith("."):
                raise BadInputError(f"model: {what} {text!r}; expected up to 64 letters, digits, '_', '-' and '.'")
        if card.version == SHIPPED:
            raise BadInputError("model: the version 'shipped' is the package's own")
        parent = self._parent(card) if card.architecture.get("kind") == "conv-lora" else None
        self._make(self.folder / card.name)
        with one_at_a_time(self.folder / "journal.lock"):
            if parent is not None and parent.is_shipped:
                self._keep(parent)
            version = card.version or self._free_version(card.name)
            path = self._file(card.name, version)
            if path.exists() or card_path(path).exists():
                raise BadInputError(
                    f"model: {card.name} {version} is there already, and versions are never changed"
                )
            written = save_weights(path, state_dict, replace(card, version=version), half=half)
            self._note("added", written, reason)
        return StoredModel(written, path, False, False)

    def promote(self, name: str, version: str, *, reason: str = "") -> StoredModel:
        """Make a version (or hash) what its name stands for, once its weights have been checked.

        Raises
        ------
        BadInputError
            There is no such version, or its weights are damaged.
        """
        found = self.find(name, version)
        if problem := _problem(found):
            raise BadInputError(problem)
        self._make(self.folder)
        with one_at_a_time(self.folder / "journal.lock"):
            if self._current(name) != found.weights_sha256:
                self._note("promoted", replace(found.card, version=found.version), reason)
        return replace(found, is_current=True)

    def rollback(self, name: str, *, reason: str = "") -> StoredModel:
        """Make the version that was current before the present one current again.

        Raises
        ------
        BadInputError
            There was none before it, or it is gone.
        """
        if not self.models(name):
            raise BadInputError(f"models: there is no {name} in {self.folder}")
        self._make(self.folder)
        with one_at_a_time(self.folder / "journal.lock"):
            stack = self._promotions().get(name, [])
            shipped = next((m for m in self.models(name) if m.is_shipped), None)
            if len(stack) > 1:
                before = self.find(name, stack[-2])
            elif stack and shipped is not None and shipped.weights_sha256 != stack[-1]:
                before = shipped
            else:
                raise BadInputError(f"models: {name} has no version before its current one to go back to")
            self._note("rolled back", replace(before.card, version=before.version), reason)
        return replace(before, is_current=True)

    def history(self, name: str | None = None) -> tuple[ModelEvent, ...]:
        """Return what was done (with a name), oldest first."""
        return tuple(event for event in self._journal.read()[0] if name in (None, event.name))

    def lineage(self, model: StoredModel) -> tuple[StoredModel, ...]:
        """Return a model, what it was trained from, and so on, as far back as they are known."""
        known = {m.weights_sha256: m for m in self.models()}
        line = [model]
        while (parent := known.get(line[-1].card.parent or "")) is not None and parent not in line:
            line.append(parent)
        return tuple(line)

    def network(self, model: StoredModel) -> nn.Module:
        """Return a model's network with its weights, adapters merged, in evaluation mode, on the CPU.

        Raises
        ------
        BadInputError
            PyTorch is missing, or a file of it or of what it stands on is missing or damaged.
        """
        state, card = load_weights(model.path)
        if card.architecture.get("kind") == "conv-lora":
            net = self.network(self._parent(card))
            load_adapter(net, state, where=str(model.path))
            merge_adapters(net)
        else:
            net = build_network(card.architecture)
            load_into(net, state, where=str(model.path))
        return net.eval()

    def check(self) -> tuple[str, ...]:
        """Hash every file again; return what is wrong, a line each."""
        problems: list[str] = []
        for path, is_shipped in self._card_files():
            try:
                found = StoredModel(read_card(path), path.with_suffix(".safetensors"), is_shipped, False)
            except BadInputError as error:
                problems.append(str(error))
                continue
            if problem := _problem(found):
                problems.append(problem)
            elif not is_shipped and self._file(found.name, found.card.version) != found.path:
                problems.append(f"{path}: is the card of {found.name} {found.card.version}")
        for folder in (*self._shipped, *_folders(self.folder)):
            problems += [
                f"{path}: has no card; its writing was interrupted"
                for path in sorted(folder.glob("[!.]*.safetensors"))
                if not card_path(path).is_file()
            ]
        if n_lines := self._journal.read()[1]:
            problems.append(f"{self._journal.path}: {n_lines} lines are no events; they are passed over")
        return tuple(problems)

    def _card_files(self) -> Iterator[tuple[Path, bool]]:
        for folder in self._shipped:
            for path in sorted(folder.glob("[!.]*.json")):
                yield path, True
        for folder in _folders(self.folder):
            for path in sorted(folder.glob("[!.]*.json")):
                yield path, False

    def _promotions(self) -> dict[str, list[str]]:
        """Return, for each name, the hashes that were promoted and not rolled back, the current one last."""
        stacks: dict[str, list[str]] = {}
        for event in self._journal.read()[0]:
            stack = stacks.setdefault(event.name, [])
            if event.event == "promoted":
                stack.append(event.weights_sha256)
            elif event.event == "rolled back" and stack:
                stack.pop()
        return stacks

    def _current(self, name: str) -> str | None:
        return next((m.weights_sha256 for m in self.models(name) if m.is_current), None)

    def _parent(self, card: ModelCard) -> StoredModel:
        for model in self.models():
            if model.weights_sha256 == card.parent:
                return model
        raise BadInputError(
            f"model: {card.name} {card.version}".rstrip() + f" stands on {(card.parent or 'nothing')[:12]},"
            f" which is not in {self.folder}"
        )

    def _keep(self, shipped: StoredModel) -> None:
        """Copy shipped weights: a later release may ship others, and adapters stand on these."""
        version = _kept_version(shipped.card)
        path = self._file(shipped.name, version)
        if card_path(path).exists():
            return
        self._make(path.parent)
        write_bytes(path, read_bytes(shipped.path))
        write_bytes(card_path(path), card_bytes(replace(shipped.card, version=version)))
        self._note("kept", replace(shipped.card, version=version), "")

    def _free_version(self, name: str) -> str:
        time = re.sub(r"[-:]", "", utc_now()[:19]).replace("T", "-")
        taken = {path.stem for path in (self.folder / name).glob("*")}
        return next(v for v in (time, *(f"{time}-{n}" for n in range(2, 10_000))) if v not in taken)

    def _file(self, name: str, version: str) -> Path:
        # Not with_suffix: a version may have a dot.
        return self.folder / name / f"{version}.safetensors"

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError(f"{folder}: cannot be made: {error.strerror}") from error

    def _note(self, event: Happening, card: ModelCard, reason: str) -> None:
        self._journal.append(ModelEvent(utc_now(), event, card.name, card.version, card.weights_sha256, reason))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir())


def _kept_version(card: ModelCard) -> str:
    return f"{SHIPPED}-{card.weights_sha256[:8]}"


def _begins(model: StoredModel, text: str) -> bool:
    return bool(_PART_OF_HASH.fullmatch(text)) and model.weights_sha256.startswith(text)


def _problem(model: StoredModel) -> str | None:
    try:
        found = sha256(read_bytes(model.path))
    except BadInputError as error:
        return str(error)
    if found == model.weights_sha256:
        return None
    return f"{model.path}: hash {found[:12]} is not the card's {model.weights_sha256[:12]}; the file was changed"
