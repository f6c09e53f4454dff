"""How planes are linked can be told to each backend that links planes, by the names of `LinkSettings`."""

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.segmentation.backends import LINK_OPTIONS, LINKS_PLANES, open_backend, segment_volume
from parfocal.segmentation.planes import LinkSettings

VOXEL_UM = (1.0, 0.5, 0.5)


def with_a_dark_plane():
    """Return an upright column of 8 um across in whose middle plane the light was off."""
    y, x = np.ogrid[:64, :64]
    disc = (y - 30) ** 2 + (x - 34) ** 2 < 64
    light = np.array([0, 1, 1, 1, 0, 1, 1, 1, 0])[:, None, None] * disc
    return np.random.default_rng(0).poisson(100 + 400 * light).astype(np.uint16)


def askew():
    """Return a column whose upper half stands aside: planes 3 and 4 have an overlap ratio of about a quarter."""
    y, x = np.ogrid[:64, :64]
    planes = [(y - 30) ** 2 + (x - cx) ** 2 < 64 for cx in (24, 24, 24, 33, 33, 33)]
    return np.random.default_rng(0).poisson(100 + 400 * np.array(planes)).astype(np.uint16)


def opened(name, **options):
    if name == "unet2d+link":
        pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]").set_num_threads(1)
    else:
        options["dims"] = 2
    return open_backend(name, diameter_um=8.0, **options)


@pytest.mark.parametrize("backend", ["watershed", "unet2d+link"])
@pytest.mark.parametrize("as_planes", [False, True])
def test_a_dropped_plane_is_bridged_or_not_as_told(backend, as_planes):
    def n_found(**options):
        engine = opened(backend, **options)
        if not as_planes:
            return engine.segment_volume(with_a_dark_plane(), VOXEL_UM).labels.max()
        labelling = engine.segment_planes(iter(with_a_dark_plane()), VOXEL_UM)
        while True:
            try:
                next(labelling)
            except StopIteration as end:
                return end.value.labels.max()

    assert n_found() == n_found(max_distance_z=2) == 1
    assert n_found(max_distance_z=1) == 2


@pytest.mark.parametrize("backend", ["watershed", "unet2d+link"])
def test_masks_that_overlap_little_are_one_nucleus_or_two_as_told(backend):
    def n_found(**options):
        found = opened(backend, neck_ratio=0.0, **options).segment_volume(askew(), VOXEL_UM)
        return found.labels.max()

    assert n_found() == 2
    assert n_found(min_overlap_ratio=0.15) == 1


def test_where_a_volume_is_labelled_in_3d_links_that_were_told_are_said_to_change_nothing():
    said = "labelled in 3D: no planes were linked; dims=2 links them"
    for told, is_said in (({}, False), ({"max_distance_z": 3}, True), ({"max_distance_z": 3, "dims": 2}, False)):
        found = segment_volume(askew(), VOXEL_UM, "watershed", diameter_um=8.0, **told)
        assert (said in found.remarks) == is_said


def test_settings_a_mapping_and_options_say_the_same():
    told = {"max_distance_z": 1, "fill_gaps": False}
    as_told = [
        opened("watershed", **told),
        opened("watershed", links=told),
        opened("watershed", links=LinkSettings(**told)),
        opened("watershed", links=LinkSettings(max_distance_z=1), fill_gaps=False),
    ]
    assert {engine.settings.links for engine in as_told} == {LinkSettings(**told)}
    assert {"min_overlap_ratio", "max_distance_z"} <= LINK_OPTIONS
    assert {"unet2d+link", "cellpose", "watershed"} == LINKS_PLANES


def test_masks_and_tiles_of_a_network_can_be_plain_values():
    pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")
    told = open_backend("unet2d+link", masks={"foreground_logit": 2}, tiles={"tile_px": [64, 64]}).settings
    assert (told.masks.foreground_logit, told.tiles.tile_px) == (2, (64, 64))


@pytest.mark.parametrize(
    ("backend", "options", "complaint"),
    [
        ("watershed", {"min_overlap_ratio": 30}, "min_overlap_ratio is 30, expected 0 to 1"),
        ("watershed", {"min_overlap_ratio": "much"}, "min_overlap_ratio is 'much', expected a number"),
        ("watershed", {"max_distance_z": 1.5}, "max_distance_z is 1.5, expected a whole number"),
        ("watershed", {"max_distance_z": True}, "max_distance_z is True, expected a whole number"),
        ("watershed", {"max_distance_z": 0}, "max_distance_z is 0, expected 1 or more planes"),
        ("watershed", {"fill_gaps": 1}, "fill_gaps is 1, expected true or false"),
        ("watershed", {"thin_objects": 3}, "thin_objects is 3, expected keep, merge or drop"),
        ("watershed", {"links": {"reach": 3}}, "watershed: links has no option reach; there are min_overlap"),
        ("watershed", {"links": 3}, "watershed: links is 3, expected any of min_overlap_ratio"),
        ("watershed", {"dims": 3, "max_distance_z": 3}, "dims 3 links no planes: leave out max_distance_z"),
        ("watershed", {"level": "high"}, "watershed: level is 'high', expected a number"),
        ("external", {"command": "x {input} {output}", "max_distance_z": 3}, "external has no option max_dist"),
        ("unet3d", {"min_overlap_ratio": 0.2}, "unet3d links no planes: leave out min_overlap_ratio"),
        ("default", {"max_distance_z": 3}, "default links no planes: leave out max_distance_z"),
        ("unet2d+link", {"masks": {"rest_px": "a"}}, "unet2d.link: masks: rest_px is 'a', expected a number"),
        ("unet2d+link", {"tiles": {"tile_px": "all"}}, "tiles: tile_px: not of the kind expected"),
    ],
)
def test_what_links_cannot_be_is_said_in_one_line(backend, options, complaint):
    if backend not in ("watershed", "external"):
        pytest.importorskip("torch", reason="PyTorch is not installed: parfocal[torch]")
    with pytest.raises(BadInputError, match=complaint) as caught:
        segment_volume(np.zeros((3, 32, 32)), VOXEL_UM, backend, **options)
    assert "\n" not in str(caught.value)
