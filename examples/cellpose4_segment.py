"""Cellpose-SAM (Cellpose 4.2) as a command of the backend `external`; see docs/how-to/use-another-program.md.

Runs in an environment of its own with `cellpose>=4.2,<5` and `zarr>=3`. Not run by parfocal's tests: its weights
have 1.2 GB.

    python cellpose4_segment.py INPUT OUTPUT WEIGHTS VOXEL_Z_UM VOXEL_X_UM DIAMETER_UM
"""

import sys
from pathlib import Path

import numpy as np
import zarr
from cellpose import models


def main(given: str, left: str, weights: str, z_um: str, x_um: str, diameter_um: str) -> None:
    """Label the volume at `given`, leave labels at `left`."""
    if not Path(weights).is_file():
        sys.exit(f"{weights}: no such file; Cellpose would fetch another model")
    source = zarr.open_group(given, mode="r")
    volume = np.asarray(source["0"])
    model = models.CellposeModel(gpu=True, pretrained_model=weights)
    diameter_px = float(diameter_um) / float(x_um)
    masks, _, _ = model.eval(
        volume,
        z_axis=0,
        do_3D=volume.shape[0] > 1,
        anisotropy=float(z_um) / float(x_um),
        diameter=diameter_px or None,
    )
    out = zarr.open_group(left, mode="w", zarr_format=3)
    out.attrs["ome"] = dict(source.attrs["ome"])
    labels = np.asarray(masks, np.uint32).reshape(volume.shape)
    array = out.create_array("0", shape=labels.shape, dtype="uint32", chunks=(1, *labels.shape[1:]))
    array[:] = labels


if __name__ == "__main__":
    main(*sys.argv[1:])
