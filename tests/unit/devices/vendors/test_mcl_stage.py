"""A Mad City Labs stage through the vendor's C signatures: it says what is wrong and comes back by itself."""

import ctypes
import shutil
import threading

import bluesky.plans as bp
import pytest

from compiled import compile_standin
from parfocal.devices import StageAxis, StageDriver
from parfocal.devices.vendors import open_mcl_stage
from parfocal.errors import BadInputError, HardwareError


@pytest.fixture(scope="session")
def madlib_built(tmp_path_factory):
    return compile_standin("madlib.c", tmp_path_factory.mktemp("madlib") / "libmadlib.so")


@pytest.fixture
def madlib(madlib_built, tmp_path):
    """A library of its own for each test: its state lies in it."""
    return ctypes.CDLL(str(shutil.copy(madlib_built, tmp_path / "libmadlib.so")))


@pytest.fixture
def stage(madlib):
    stage = open_mcl_stage(library=madlib._name)
    yield stage
    stage.close()
    assert madlib.standin_open_handles() == 0


def test_it_is_a_stage_that_arrives_where_its_sensor_says(stage):
    assert isinstance(stage, StageDriver)
    z = StageAxis(name="focus", axis="z", driver=stage, limits_um=stage.limits_um("z"), tolerance_um=0.05)
    z.set(42.5).wait(5)
    assert abs(z.position - 42.5) < 0.02
    assert abs(stage.position_um("x")) < 1e-9


def test_the_travel_comes_from_the_calibration_and_is_not_left(stage):
    assert stage.axes == ("x", "z")
    assert stage.limits_um("z") == (0.0, 300.0)
    with pytest.raises(HardwareError, match="z cannot go to 301 um, its travel is 0 to 300 um"):
        stage.move("z", 301)
    assert not stage.is_moving("z")


def test_any_axis_of_the_drive_can_be_the_focus(madlib):
    stage = open_mcl_stage(library=madlib._name, serial=5678, axis="y")
    assert stage.axes == ("x", "z")
    stage.move("z", 7.0)
    while stage.is_moving("z"):
        pass
    madlib.MCL_SingleReadN.restype = ctypes.c_double
    madlib.MCL_SingleReadN.argtypes = [ctypes.c_uint, ctypes.c_int]
    handles = (ctypes.c_int * 2)()
    assert madlib.MCL_GetAllHandles(handles, 2) == 1  # the other drive was let go
    assert madlib.MCL_SingleReadN(2, handles[0]) == pytest.approx(7.0, abs=0.02)
    stage.close()
    assert madlib.standin_open_handles() == 0


def test_an_axis_that_the_drive_lacks_is_refused_and_the_handle_released(madlib):
    with pytest.raises(BadInputError, match="the drive has no axis y; it has x, z"):
        open_mcl_stage(library=madlib._name, axis="y")
    assert madlib.standin_open_handles() == 0


def test_a_serial_number_that_is_not_there_names_those_that_are(madlib):
    with pytest.raises(HardwareError, match=r"no Nano-Drive with serial number 99, there are \[1234, 5678\]"):
        open_mcl_stage(library=madlib._name, serial=99)
    assert madlib.standin_open_handles() == 0


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (-1, "MCL_GENERAL_ERROR"),
        (-2, "MCL_DEV_ERROR"),
        (-3, "MCL_DEV_NOT_ATTACHED"),
        (-4, "MCL_USAGE_ERROR"),
        (-5, "MCL_DEV_NOT_READY"),
        (-6, "MCL_ARGUMENT_ERROR"),
        (-7, "MCL_INVALID_AXIS"),
        (-8, "MCL_INVALID_HANDLE"),
    ],
)
def test_every_error_is_named_once_and_the_next_call_works(stage, madlib, code, name):
    madlib.standin_fail_next(0, code)
    with pytest.raises(HardwareError, match=rf"mcl stage 1234: cannot read axis 3: .+ \({name}, {code}\)$"):
        stage.position_um("z")
    stage.move("z", 5.0)
    madlib.standin_fail_next(0, code)
    with pytest.raises(HardwareError, match=name):
        stage.move("z", 6.0)
    assert stage.position_um("z") < 5.01


@pytest.mark.parametrize("handle_is_kept", [True, False])
def test_a_stage_that_is_unplugged_says_so_and_is_found_again_when_it_is_back(stage, madlib, handle_is_kept):
    stage.move("z", 20.0)
    if handle_is_kept:
        madlib.standin_unplug_keeping_handle(0)
    else:
        madlib.standin_attach(0, 0)
    with pytest.raises(HardwareError, match="MCL_DEV_NOT_ATTACHED" if handle_is_kept else "MCL_INVALID_HANDLE"):
        stage.position_um("z")
    with pytest.raises(HardwareError, match=r"no Nano-Drive with serial number 1234, there are \[5678\]"):
        stage.move("z", 21.0)
    madlib.standin_attach(0, 1)
    stage.move("z", 22.0)
    while stage.is_moving("z"):
        pass
    assert stage.position_um("z") == pytest.approx(22.0, abs=0.02)


def test_no_drive_at_all_is_said_in_one_line(madlib):
    madlib.standin_attach(0, 0)
    madlib.standin_attach(1, 0)
    with pytest.raises(HardwareError, match=r"^mcl stage: no Nano-Drive could be opened; [^\n]+$"):
        open_mcl_stage(library=madlib._name)


def test_a_stage_that_does_not_move_fails_its_status(stage, madlib):
    madlib.standin_stick(0, 1)
    z = StageAxis(name="focus", axis="z", driver=stage, timeout_s=0.1)
    with pytest.raises(HardwareError, match=r"focus stalled at 0\.000 um on its way to 10 um"):
        z.set(10.0).wait(5)
    madlib.standin_stick(0, 0)
    z.set(10.0).wait(5)


def test_threads_may_ask_it_at_once(stage):
    stage.move("z", 9.0)
    seen, failed = [], []

    def ask():
        try:
            seen.extend(stage.position_um("z") for _ in range(2000))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(seen) == 8000
    assert all(0 <= position <= 9.0 for position in seen)


def test_a_library_that_is_none_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"Madlib was not found at .*nothing\.so; install"):
        open_mcl_stage(library=str(tmp_path / "nothing.so"))
    with pytest.raises(BadInputError, match=r"is no Madlib: it has no MCL_"):
        open_mcl_stage(library=ctypes.util.find_library("m"))


def test_memory_says_in_every_document_that_it_is_no_hardware(RE, documents):
    z = StageAxis(name="stage_z", axis="z", driver=open_mcl_stage("memory"))
    RE(bp.scan([], z, 0, 1, 3))
    (descriptor,) = documents.of("descriptor")
    data = descriptor["configuration"]["stage_z"]["data"]
    assert data["stage_z_backend"] == "in-memory stand-in, not hardware"
    assert [event["data"]["stage_z"] for event in documents.of("event")] == [0, 0.5, 1]


def test_a_drive_says_in_every_document_which_one_it_is(stage):
    z = StageAxis(name="stage_z", axis="z", driver=stage)
    value = z.read_configuration()["stage_z_backend"]["value"]
    assert value == "Mad City Labs Nano-Drive 1234 (product 0x2001), Madlib"


WRAPPER = """
class Drive:
    def __init__(self, serial):
        self.serial, self.at = serial, {1: 0.0, 2: 0.0, 3: 0.0}
        self.closed = False
    def range_um(self, axis):
        return 80.0 if axis == 3 else 0
    def read_um(self, axis):
        return self.at[axis]
    def write_um(self, position_um, axis):
        if position_um == 13:
            raise OSError("the drive\\ndoes not like 13")
        self.at[axis] = position_um
    def close(self):
        self.closed = True

def open_nanodrive(serial):
    return Drive(serial)
"""


def test_a_module_of_your_own_is_a_stage(tmp_path):
    (tmp_path / "lab_mcl.py").write_text(WRAPPER)
    stage = open_mcl_stage("wrapper", wrapper="lab_mcl", wrapper_folder=str(tmp_path), serial=7)
    assert stage.axes == ("z",)
    assert stage.limits_um("z") == (0.0, 80.0)
    z = StageAxis(name="focus", axis="z", driver=stage)
    z.set(12.0).wait(5)
    assert z.position == 12.0
    assert z.read_configuration()["focus_backend"]["value"] == "module lab_mcl"
    with pytest.raises(HardwareError, match=r"^mcl stage: module lab_mcl: the drive does not like 13$"):
        z.set(13.0).wait(5)
    stage.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", r"has no function open_nanodrive\(serial\)"),
        ("def open_nanodrive(serial):\n    return object()", "has no range_um, read_um, write_um, close"),
        ("import nothing_of_that_name", "cannot be imported: No module named"),
    ],
)
def test_a_module_that_will_not_do_is_told_before_anything_moves(tmp_path, text, words):
    (tmp_path / "lab_mcl.py").write_text(text)
    with pytest.raises(BadInputError, match=words):
        open_mcl_stage("wrapper", wrapper="lab_mcl", wrapper_folder=str(tmp_path))


@pytest.mark.parametrize("name", ["../elsewhere", "os; import sys", ""])
def test_a_module_outside_the_folder_cannot_be_named(tmp_path, name):
    with pytest.raises(BadInputError, match="is no module's name"):
        open_mcl_stage("wrapper", wrapper=name, wrapper_folder=str(tmp_path))


def test_a_backend_that_there_is_not_is_told():
    with pytest.raises(BadInputError, match="backend is 'usb', expected dll, wrapper or memory"):
        open_mcl_stage("usb")
