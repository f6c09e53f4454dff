"""A run, segmented by replay, is reviewed from the catalog: its labels, its raw planes, its doubts."""

import numpy as np
import pytest

from parfocal.callbacks import open_review, replay
from parfocal.catalog import open_catalog, stop_server
from parfocal.devices import simulated_microscope
from parfocal.files import read_ome_zarr
from parfocal.plans import z_stack
from parfocal.session import start_session


@pytest.mark.long
def test_the_labels_of_a_run_are_corrected_beside_it(tmp_path):
    session = start_session(tmp_path)
    microscope = session.use(simulated_microscope("microscope", realtime=False, height_px=96, width_px=96))
    session.RE(z_stack(microscope, 4.0, 1.0))
    session.close()
    microscope.destroy()
    with open_catalog(tmp_path) as catalog:
        replay(["newest"], "nuclei", {"backend": "watershed"}, catalog=catalog)
        review, corrected = open_review(catalog, "newest")
        first = review.queue(1)[0]
        review.delete(first.object_id)
        review.save(corrected)
        again, _ = open_review(catalog, "newest", "labels_0")
        stop_server(catalog.folder)
    assert review.image.shape == review.labels.shape
    assert first.score > 0
    assert first.reasons
    np.testing.assert_array_equal(again.labels, review.labels)
    np.testing.assert_array_equal(read_ome_zarr(corrected)[0], review.labels)
    assert (read_ome_zarr(corrected.with_name("labels_0.ome.zarr"))[0] == first.object_id).any()
