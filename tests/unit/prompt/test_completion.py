"""What TAB offers, without an IPython: the text before the cursor in, completions out."""

from typing import Literal

import numpy as np
import pytest

from parfocal.errors import BadInputError
from parfocal.plans import positions, z_stack
from parfocal.prompt import live_view
from parfocal.prompt._completion import completions
from parfocal.puncta import Localizations, PunctaTracks


def my_plan(microscope, law: Literal["pi", "kalman"] | None = None, *, n: int = 1):
    yield from ()


NAMES = {"z_stack": z_stack, "positions": positions, "my_plan": my_plan, "helper": print, "RE": object()}


def offered(line, names=NAMES):
    return sorted(text for text, _ in completions(line, names)[1])


def test_re_takes_plans_and_nothing_else():
    assert offered("RE(") == ["my_plan", "positions", "z_stack"]
    assert offered("x = RE(z_") == ["z_stack"]
    assert offered("session.RE(my") == ["my_plan"]
    assert offered("print(") == offered("z_stack") == []


def test_a_plan_takes_a_device_first_and_then_its_arguments(microscope):
    names = {**NAMES, "microscope": microscope}
    assert offered("RE(my_plan(", names) == ["law=", "microscope", "microscope=", "n="]
    assert offered("RE(my_plan(microscope, ", names) == ["law=", "microscope=", "n="]
    assert offered("RE(my_plan(microscope, n=3, ", names) == ["law=", "microscope="]
    assert offered("RE(my_plan(microscope, n=mic", names) == [], "a value is for IPython itself"
    assert "step_um=" in offered("RE(z_stack(microscope, (1, 2), st", names)


def test_words_that_an_argument_may_be_are_offered(microscope):
    names = {**NAMES, "microscope": microscope}
    assert offered('RE(my_plan(microscope, law="') == ["kalman", "pi"]
    assert offered("RE(my_plan(microscope, law='k") == ["kalman"]
    assert offered('RE(positions(m, [[0, 0]], on_error="') == ["abort", "retry", "skip"]
    assert offered('RE(z_stack(microscope, 2, 1, channels=["', names) == ["green", "red"]
    assert offered('RE(z_stack(microscope, 2, 1, channels=["red", "g', names) == ["green"]


def test_a_property_is_not_run_to_find_out_what_it_is():
    class Dangerous:
        @property
        def catalog(self):
            raise AssertionError("it was run")

    assert offered('thing.catalog.run("', {"thing": Dangerous()}) == []


def test_a_live_view_is_a_table_or_plots_or_nothing():
    assert live_view("") is None
    with pytest.raises(BadInputError, match="table, plots, or nothing"):
        live_view("movie")


def test_results_say_what_they_are_in_a_line():
    tracks = PunctaTracks(np.array([0, 0, 1, -1]), np.empty((0, 2), int), 2)
    assert repr(tracks) == "PunctaTracks(2 tracks of 3 localizations; 1 in none, 0 splits and merges)"
    assert repr(Localizations((0.1, 0.1), np.array([0, 2]), np.zeros(2), np.zeros(2), np.zeros(2))) == (
        "Localizations(2 spots in 3 frames)"
    )


def test_a_microscope_shows_how_it_stands_also_where_a_driver_does_not_answer(microscope, stage):
    def no_answer(axis):
        raise TimeoutError("no <answer>")

    assert microscope.facts()["stage z"] == "0.000 um, limits -100 to 100 um"
    stage.position_um = no_answer
    assert microscope.facts()["stage z"] == "does not answer: no <answer>"
    assert "no &lt;answer&gt;" in microscope._repr_html_()
