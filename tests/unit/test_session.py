"""What a session wires, without a catalog's server."""

from types import SimpleNamespace

from parfocal.catalog import DataFolder
from parfocal.plans import positions
from parfocal.session import Session


def test_a_microscope_that_is_used_again_is_still_noted_once_a_plan(RE, microscope, tmp_path):
    session = Session(RE, SimpleNamespace(folder=DataFolder(tmp_path)), None)
    session.use(microscope)
    session.use(microscope)  # as a profile does that is run again
    begun = []
    begin = microscope.resting.begin
    microscope.resting.begin = lambda resting: (begun.append(resting), begin(resting))
    RE(positions(microscope, [[0, 0]]))
    assert len(begun) == 1
