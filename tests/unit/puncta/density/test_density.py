"""How much light puncta need to lie as densely as wanted."""

import numpy as np
import pytest

from parfocal.callbacks import DensityJudge
from parfocal.errors import BadInputError
from parfocal.puncta.density import DensityRange, next_level

WANTED = DensityRange(1.0, 3.0)


def climb(density_of, level, lowest=1e-4, highest=1.0, most=12):
    tried = [(level, density_of(level))]
    while (level := next_level(tried, WANTED, lowest, highest)) is not None and len(tried) < most:
        tried.append((level, density_of(level)))
    return tried


@pytest.mark.parametrize(
    "density_of",
    [
        lambda level: 100 * level,
        lambda level: 5 * level**0.1,
        lambda level: 4000 * level**3,
        lambda level: 6 / (1 + np.exp(-40 * (level - 0.3))),
        lambda level: 6.0 * (level > 0.2) + 2.0 * (0.1 < level <= 0.2),  # flat but for steps
    ],
)
@pytest.mark.parametrize("begin", [1e-3, 0.05, 1.0])
def test_density_comes_into_range_however_it_depends_on_light(density_of, begin):
    tried = climb(density_of, begin)
    assert WANTED.says(tried[-1][1]) == ""
    assert len(tried) <= 11


def test_at_the_end_of_what_light_can_do_it_stops():
    tried = climb(lambda level: 0.5 * level, 0.3)
    assert tried[-1][0] == 1.0
    assert climb(lambda _: 50.0, 0.3)[-1][0] == 1e-4


def test_a_sample_that_bleaches_is_followed_up_again():
    tried = [(0.1, 2.0), (0.1, 0.4), (0.2, 0.9)]
    assert next_level(tried, WANTED, 1e-4, 1.0) > 0.2
    # It was too dense at 0.1 once; by now it is too sparse there.
    assert next_level([(0.1, 9.0), (0.1, 0.2)], WANTED, 1e-4, 1.0) > 0.1


def test_a_judge_says_the_density_and_what_is_wrong_with_it():
    judge = DensityJudge(WANTED, lambda pixels: int(pixels.sum()), (0.5, 0.5))
    few, right, many = (judge.see(np.full((10, 10), n), k, "") for k, n in enumerate((0, 0.5, 2)))
    assert (few.accepted, right.accepted, many.accepted) == (False, True, False)
    assert right.scores == {"density_per_um2": 2.0, "n_spots": 50.0}
    assert many.reason == "8 per um2, too many: 1 to 3 are wanted"
    assert judge.again(1).score == 2.0


def test_a_range_that_is_none_is_refused():
    with pytest.raises(BadInputError, match="two rising numbers"):
        DensityRange(3.0, 1.0)
