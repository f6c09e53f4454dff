import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.puncta import Localizations, no_localizations
from parfocal.puncta.tracking import TrackSettings, track_puncta

PIXEL_UM = (0.1, 0.1)


def spots(frame, x_px, y_px, photons=None):
    n = len(frame)
    photons = np.full(n, 1000.0) if photons is None else np.asarray(photons, float)
    return Localizations(
        PIXEL_UM, np.asarray(frame, np.int64), np.asarray(x_px, float), np.asarray(y_px, float), photons
    )


def diffusing(n=100, n_frames=100, step_px=1.0, missing=0.1, side_px=512.0, seed=0):
    """Return localizations in a random order of rows, and whose each is."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, side_px, (n, 2)) + np.cumsum(rng.normal(0, step_px, (n_frames, n, 2)), axis=0)
    frame, who = np.nonzero(rng.random((n_frames, n)) >= missing)
    order = rng.permutation(frame.size)
    frame, who = frame[order], who[order]
    return spots(frame, at[frame, who, 0], at[frame, who, 1]), who


def links_of(frame, owner):
    """Return the rows that follow each other in one owner's life."""
    order = np.lexsort((frame, owner))
    order = order[owner[order] >= 0]
    same = owner[order[1:]] == owner[order[:-1]]
    return {(int(a), int(b)) for a, b in zip(order[:-1][same], order[1:][same])}


def test_diffusing_puncta_are_followed_through_dark_frames():
    found, who = diffusing()
    tracks = track_puncta(found, TrackSettings(max_step_um=0.5, max_missing_frames=2))
    frame = found.frame
    truth = {(a, b) for a, b in links_of(frame, who) if frame[b] - frame[a] <= 3}
    ours = links_of(frame, tracks.track)
    assert len(ours & truth) / len(truth) >= 0.997
    assert len(ours & truth) / len(ours) >= 0.998


def test_branches_are_not_seen_where_equals_only_pass_each_other():
    found, _ = diffusing()
    settings = TrackSettings(max_step_um=0.5, max_split_um=0.5, max_merge_um=0.5)
    tracks = track_puncta(found, settings)
    assert len(tracks.parents) == 0
    unasked = track_puncta(found, TrackSettings(0.5, max_split_um=0.5, max_merge_um=0.5, max_photon_change=None))
    assert len(unasked.parents) > 0


def test_a_merge_and_a_split_end_tracks_and_begin_others():
    t = np.arange(30)
    apart = t[(t < 10) | (t >= 20)]
    gap = np.where(apart < 10, 10 - apart, apart - 19) * 0.4
    frame = np.concatenate([apart, apart, t[10:20]])
    x = np.concatenate([50 - gap, 50 + gap, np.full(10, 50.0)])
    photons = np.concatenate([np.full(apart.size, 900.0), np.full(apart.size, 1100.0), np.full(10, 2000.0)])
    found = spots(frame, x, np.full(frame.size, 20.0), photons)
    tracks = track_puncta(found, TrackSettings(0.1, 0, max_split_um=0.2, max_merge_um=0.2))
    assert tracks.n_tracks == 5
    middle = tracks.track[-1]
    assert [p for p in tracks.parents.tolist() if p[1] == middle] == [[0, middle], [1, middle]]
    assert len([p for p in tracks.parents.tolist() if p[0] == middle]) == 2
    none = track_puncta(found, TrackSettings(0.1, 0))
    assert len(none.parents) == 0


def test_a_gap_may_be_as_wide_as_diffusion_goes_and_as_long_as_is_allowed():
    jump = 0.8  # px: beyond one step of 0.05 um, within the root of 3 of it
    found = spots([0, 1, 4, 5], [0, 0, jump, jump], [0, 0, 0, 0])
    wide = {"own_steps": False}
    assert track_puncta(found, TrackSettings(0.05, 2, **wide)).n_tracks == 1
    assert track_puncta(found, TrackSettings(0.05, 1, **wide)).n_tracks == 2
    farther = spots([0, 1, 4, 5], [0, 0, 0.9, 0.9], [0, 0, 0, 0])
    assert track_puncta(farther, TrackSettings(0.05, 2, **wide)).n_tracks == 2


def test_an_immobile_punctum_is_not_joined_to_what_comes_to_rest_near_it():
    rng = np.random.default_rng(1)
    still, later = rng.normal(0, 0.05, (20, 2)), rng.normal((3, 0), 0.05, (20, 2))
    mobile = 60 + np.cumsum(rng.normal(0, 1.5, (42, 2)), axis=0)
    frame = np.concatenate([np.arange(20), np.arange(22, 42), np.arange(42)])
    at = np.concatenate([still, later, mobile])
    found = spots(frame, at[:, 0], at[:, 1])
    assert track_puncta(found, TrackSettings(0.7, 2)).n_tracks == 3
    assert track_puncta(found, TrackSettings(0.7, 2, own_steps=False)).n_tracks == 2


def test_brightness_can_decide_between_two_that_cross():
    found = spots([0, 0, 1, 1], [0, 1, 0.4, 0.6], [0, 0, 0, 0], photons=[100, 1000, 1000, 100])
    assert track_puncta(found, TrackSettings(0.3, 0)).track.tolist() == [0, 1, 0, 1]
    assert track_puncta(found, TrackSettings(0.3, 0, photon_weight=1)).track.tolist() == [0, 1, 1, 0]


def test_short_tracks_are_none():
    found = spots([0, 1, 2, 0, 1, 5], [0, 0, 0, 9, 9, 50], [0, 0, 0, 9, 9, 50])
    tracks = track_puncta(found, TrackSettings(0.1, 0, min_frames=3))
    assert tracks.track.tolist() == [0, 0, 0, -1, -1, -1]
    assert tracks.n_tracks == 1


def test_rows_may_come_in_any_order_and_frames_from_anywhere():
    found = spots([7, 5, 6], [0, 0, 0], [0, 0, 0])
    assert track_puncta(found, TrackSettings(0.1)).track.tolist() == [0, 0, 0]
    assert track_puncta(no_localizations(PIXEL_UM)).n_tracks == 0


@pytest.mark.parametrize(
    "wrong", [{"max_step_um": 0.0}, {"max_missing_frames": -1}, {"max_split_um": np.inf}, {"photon_weight": -1.0}]
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        TrackSettings(**wrong)
