"""What finds puncta for `parfocal infer`: a network, several of them together, or the classical detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from parfocal.cli._infer_source import Recording
from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.puncta import Localizations

if TYPE_CHECKING:
    from parfocal.puncta.networks import PunctaNet

Tell = Callable[[int], object]
"""Called with how many frames are done."""
Find = Callable[[Recording, CameraModel, tuple[float, float], Tell], Localizations]


@dataclass(frozen=True)
class Finder:
    """What finds puncta; `model_hash` is empty without a network, and of several all, with + between them."""

    name: str
    model_hash: str
    find: Find


def find_by(detector: str, models: Sequence[str], device: str | None, threshold: str | None) -> Finder:
    """Return what finds puncta: a network where one is asked for or can be had, else the classical detector.

    Parameters
    ----------
    detector : {"auto", "hybrid", "network", "classical"}
    models : sequence of str
        Files, names or hashes of weights; none: the shipped ones; several: an ensemble.
    device, threshold : str, optional

    Raises
    ------
    BadInputError
        Weights are missing, or something is told that the detector does not know.
    """
    if detector == "classical":
        if models or device:
            raise BadInputError("infer: --model and --device are of a network; --detector is classical")
        return _classical(threshold)
    from parfocal.puncta.networks import find_puncta_weights, open_puncta_net

    try:
        nets = [open_puncta_net(find_puncta_weights(model), device=device) for model in models or [""]]
    except BadInputError:
        if detector != "auto" or models:
            raise
        return _classical(threshold)
    if threshold is not None:
        nets = [replace(net, settings=replace(net.settings, threshold=_number(threshold))) for net in nets]
    name = "network" if detector == "network" else "hybrid"
    hashes = "+".join(net.model_hash or "" for net in nets)
    return Finder(name, hashes, _by_one(nets[0], name) if len(nets) == 1 else _by_several(nets, name))


def _classical(threshold: str | None) -> Finder:
    from parfocal.puncta.detection import LocalizeSettings, localize_movie

    settings = LocalizeSettings() if threshold is None else LocalizeSettings(threshold=threshold)

    def find(it: Recording, camera: CameraModel, size: tuple[float, float], tell: Tell) -> Localizations:
        return localize_movie(it.puncta.frames(), camera, settings, size, on_progress=lambda done, _: tell(done))

    return Finder("classical", "", find)


def _by_one(net: PunctaNet, name: str) -> Find:
    from parfocal.puncta.networks import localize_with_net

    def find(it: Recording, camera: CameraModel, size: tuple[float, float], tell: Tell) -> Localizations:
        told: dict[str, Any] = {"on_progress": tell, "refit": "none" if name == "network" else "crowds"}
        if net.has_calcium:
            if it.calcium is None:
                raise BadInputError(f"{it.name}: has no calcium channel, which network {net.name} looks at")
            told |= {"calcium": it.calcium(), "calcium_camera": it.calcium_camera or camera}
        return localize_with_net(it.puncta.frames(), net, camera_model=camera, pixel_size_um=size, **told)

    return find


def _by_several(nets: Sequence[PunctaNet], name: str) -> Find:
    from parfocal.puncta.networks import localize_with_ensemble

    if two := next((net for net in nets if net.has_calcium), None):
        raise BadInputError(f"--model {two.name}: looks at calcium too; an ensemble is of networks of puncta")

    def find(it: Recording, camera: CameraModel, size: tuple[float, float], tell: Tell) -> Localizations:
        return localize_with_ensemble(
            it.puncta.frames(),
            nets,
            camera_model=camera,
            pixel_size_um=size,
            refit="none" if name == "network" else "crowds",
            on_progress=tell,
        )

    return find


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadInputError(f"--threshold {text}: of a network a probability is expected, such as 0.6") from None
