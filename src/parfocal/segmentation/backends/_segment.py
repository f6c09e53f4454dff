"""`segment_volume`: pixels in, labels out, whichever backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import BadInputError
from parfocal.optics import CameraModel
from parfocal.segmentation._segmentation import Backend, Segmentation
from parfocal.segmentation.backends._input import Progress, as_volume, checked_voxel_size
from parfocal.segmentation.backends._registry import DEFAULT_BACKEND, TELLS_PROGRESS, default_backend, open_backend
from parfocal.segmentation.restoration import RESTORATION_MODES, Denoiser, RestorationMode, restore_if_it_helps


def segment_volume(
    volume: NDArray[np.generic],
    voxel_size_um: tuple[float, float, float],
    backend: str | Backend | None = None,
    *,
    restoration: RestorationMode = "none",
    denoiser: Denoiser | None = None,
    camera_model: CameraModel | None = None,
    diameter_um: float | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> Segmentation:
    """Find the nuclei of a volume.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x) or (y, x)
        Raw pixels of any real dtype; never changed. A plane is a volume of one.
    voxel_size_um : (float, float, float)
        z, y, x.
    backend : str or Backend, optional
        A name in `BACKENDS`, or one made by `open_backend`. Where nothing is said: `unet2d+link`, and `watershed`
        where PyTorch is not installed; a remark says so.
    restoration : {"none", "auto", "denoise", "deblur", "denoise+deblur"}
        What the pixels go through before they are segmented, if that helps: raw and restored ones are segmented,
        the better segmentation is kept (`restore_if_it_helps`). Intensities are never measured on restored
        pixels.
    denoiser : Denoiser, optional
        What denoises, by `open_denoiser`; wavelets by default.
    camera_model : CameraModel, optional
        Offset, gain and read noise, where known, for restoration.
    diameter_um : float, optional
        Of a typical nucleus; found by the backend where not told.
    on_progress : callable, optional
        Told how many planes, tiles or blocks of how many are done, by a named backend in `TELLS_PROGRESS`; twice
        over them where both raw and restored pixels are segmented.
    **options
        The fields of the backend's settings.

    Returns
    -------
    Segmentation

    Raises
    ------
    BadInputError
        The input is no volume of finite numbers, the voxel size is not positive, the backend cannot be made or
        fails.

    Examples
    --------
    >>> import numpy as np
    >>> z, y, x = np.mgrid[:12, :40, :60]
    >>> ball = lambda cx: 900.0 * ((z - 6) ** 2 * 4 + (y - 20) ** 2 + (x - cx) ** 2 < 100)
    >>> volume = np.random.default_rng(0).poisson(100 + ball(18) + ball(42)).astype(np.uint16)
    >>> found = segment_volume(volume, (1.0, 0.5, 0.5), "watershed")
    >>> int(found.labels.max())
    2
    """
    voxel_size_um = checked_voxel_size(voxel_size_um)
    pixels = as_volume(volume)
    remarks: tuple[str, ...] = ()
    if backend is None or isinstance(backend, str):
        chosen = backend or default_backend()
        if backend is None and chosen != DEFAULT_BACKEND:
            remarks = (f"PyTorch is not installed: {chosen} instead of {DEFAULT_BACKEND}",)
        told = {"on_progress": on_progress} if chosen in TELLS_PROGRESS else {}
        engine = open_backend(chosen, diameter_um=diameter_um, **told, **options)
    elif options or diameter_um is not None:
        raise BadInputError("options belong to a backend that is named, not to one that is made already")
    else:
        engine = backend
    if restoration not in RESTORATION_MODES:
        raise BadInputError(f"restoration {restoration!r}, expected one of {', '.join(RESTORATION_MODES)}")
    if restoration == "none":
        found = engine.segment_volume(pixels, voxel_size_um)
    else:
        found = restore_if_it_helps(
            pixels,
            lambda given: engine.segment_volume(given, voxel_size_um),
            restoration,
            camera_model=camera_model,
            denoiser=denoiser,
        ).segmentation
        record = found.restoration_record
        why = f" ({record.why})" if record is not None else ""
        remarks += (f"restoration asked for: {restoration}, done: {found.restoration}{why}",)
    return replace(found, remarks=remarks + found.remarks)
