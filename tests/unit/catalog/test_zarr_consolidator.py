from __future__ import annotations

import pytest
from bluesky_tiled_plugins.writing.consolidators import consolidator_factory

from parfocal.catalog import ZarrConsolidator


def resource(uri="file://localhost/data/a.ome.zarr/0", chunk_shape=(1, 4, 5), key="camera"):
    return {
        "uid": "r",
        "data_key": key,
        "mimetype": "application/x-zarr",
        "uri": uri,
        "parameters": {"chunk_shape": list(chunk_shape)},
    }


def descriptor(shape=(4, 5), dtype="<u2", key="camera", dims=("y", "x")):
    value = {"shape": list(shape), "dtype_numpy": dtype, "dims": list(dims), "external": "STREAM:"}
    return {"data_keys": {key: value}}


def datum(start, stop):
    return {"indices": {"start": start, "stop": stop}, "seq_nums": {"start": start + 1, "stop": stop + 1}}


def test_importing_the_catalog_registers_it():
    assert isinstance(consolidator_factory(resource(), descriptor()), ZarrConsolidator)


def test_the_asset_is_the_directory_of_the_array():
    consolidator = ZarrConsolidator(resource(), descriptor())
    (asset,) = consolidator.get_data_source().assets
    assert asset.is_directory
    assert asset.data_uri == "file://localhost/data/a.ome.zarr/0"


def test_it_grows_by_what_the_datums_say_with_a_chunk_a_frame():
    consolidator = ZarrConsolidator(resource(), descriptor())
    consolidator.consume_stream_datum(datum(0, 1))
    consolidator.consume_stream_datum(datum(1, 7))
    structure = consolidator.get_data_source().structure
    assert structure.shape == (7, 4, 5)
    assert structure.chunks == ((1,) * 7, (4,), (5,))
    assert structure.dims == ("time", "y", "x")


def test_companions_of_a_burst_are_one_dimensional():
    consolidator = ZarrConsolidator(
        resource(chunk_shape=(64,), key="z_um"), descriptor((), "<f8", key="z_um", dims=())
    )
    consolidator.consume_stream_datum(datum(0, 100))
    structure = consolidator.get_data_source().structure
    assert structure.shape == (100,)
    assert structure.chunks == ((64, 36),)


def test_the_same_array_may_be_announced_again_but_not_another():
    consolidator = ZarrConsolidator(resource(), descriptor())
    consolidator.update_from_stream_resource(resource())
    with pytest.raises(ValueError, match="another"):
        consolidator.update_from_stream_resource(resource(uri="file://localhost/data/b.ome.zarr/0"))
    with pytest.raises(ValueError, match="chunk_shape"):
        consolidator.update_from_stream_resource(resource(chunk_shape=(2, 4, 5)))
