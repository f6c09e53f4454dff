"""Images of points: the same whoever asks for them, and computed once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from parfocal.optics import Objective, PointImages
from parfocal.optics._lru import ArrayCache

AIR = Objective(0.8, 1.0, 0.6, (0.16, 0.16))


def image_of(points, defocus_um):
    image = np.zeros((48, 64), np.float32)
    at = np.linspace(10.3, 30.7, defocus_um.size)
    points.add(image, at, at, defocus_um, np.full(defocus_um.size, 1000.0))
    return image


def test_what_one_has_computed_another_of_the_same_optics_has_at_once(monkeypatch):
    defocus_um = np.array([0.05, -0.31])
    first = image_of(PointImages(AIR, {6: 0.07}), defocus_um)
    made = []
    make = PointImages._make_plane
    monkeypatch.setattr(PointImages, "_make_plane", lambda self, *what: made.append(what) or make(self, *what))
    assert np.array_equal(image_of(PointImages(AIR, {6: 0.07}), defocus_um), first)
    assert not made
    other = image_of(PointImages(AIR, {6: 0.08}), defocus_um)
    assert made
    assert not np.array_equal(other, first)


def test_threads_that_share_it_get_what_one_alone_does(monkeypatch):
    points = PointImages(AIR, {5: 0.041})
    defocus_um = [np.array([z, z + 0.013]) for z in np.linspace(-0.5, 0.5, 16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda z: image_of(points, z), defocus_um))
    monkeypatch.setattr("parfocal.optics._point_images._PLANES", ArrayCache(2**26))  # nothing of theirs
    alone = PointImages(AIR, {5: 0.041})
    for z, image in zip(defocus_um, together, strict=True):
        assert np.array_equal(image_of(alone, z), image)
