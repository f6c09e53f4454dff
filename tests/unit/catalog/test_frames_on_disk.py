from __future__ import annotations

import numpy as np
import pytest
import tensorstore

from parfocal.catalog._frames_on_disk import frames_on_disk, trim_frames


def make(path, shape, chunk, separator="/"):
    return tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(path)},
            "metadata": {
                "shape": shape,
                "data_type": "uint16",
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
            },
        },
        create=True,
    ).result()


@pytest.mark.parametrize("separator", ["/", "."])
def test_frames_are_counted_up_to_the_last_written(tmp_path, separator):
    store = make(tmp_path / "a", [64, 4, 4], [1, 4, 4], separator)
    uri = f"file://localhost{tmp_path}/a"
    assert frames_on_disk(uri) == 0
    store[:5].write(np.ones((5, 4, 4), np.uint16)).result()
    assert frames_on_disk(uri) == 5
    assert trim_frames(uri, 5)
    assert not trim_frames(uri, 5)
    store = tensorstore.open(store.spec(minimal_spec=True)).result()
    assert store.shape == (5, 4, 4)
    assert store.read().result().all()


def test_what_cannot_be_counted_is_not_guessed(tmp_path):
    make(tmp_path / "z", [64], [64])
    assert frames_on_disk(f"file://localhost{tmp_path}/z") is None
    assert frames_on_disk(f"file://localhost{tmp_path}/nothing") is None
    assert not trim_frames(f"file://localhost{tmp_path}/nothing", 3)
