"""An EPICS motor as z: a real IOC and libca, each in a process of its own, on ports of their own."""

import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("caproto", reason="caproto is not installed")
pytest.importorskip("epics", reason="pyepics is not installed")

IOC = """
import sys
from caproto.ioc_examples.fake_motor_record import FakeMotor
from caproto.server import PVGroup, SubGroup, run

class Ioc(PVGroup):
    z = SubGroup(FakeMotor, velocity=20.0, precision=4, user_limits=(-10.0, 10.0), tick_rate_hz=50.0, prefix="z")

ioc = Ioc(prefix="test:")

async def ready(async_lib):
    # A real motor record tells its soft limits as control limits of .VAL; caproto's leaves them out.
    await ioc.z.motor.write_metadata(lower_ctrl_limit=-10.0, upper_ctrl_limit=10.0)
    print("ready", flush=True)

run(ioc.pvdb, interfaces=["127.0.0.1"], startup_hook=ready)
"""

CLIENT = """
import json, sys
from pathlib import Path
from bluesky import RunEngine
from ophyd import EpicsMotor
from ophyd.utils import LimitError
from parfocal.devices import Camera
from parfocal.frames import FrameRing
from parfocal.plans import z_stack
from support import CountingSource, Documents

z = EpicsMotor("test:z", name="z")
z.wait_for_connection(timeout=10)
camera = Camera(name="camera", source=CountingSource(), frames_root=Path(sys.argv[1]), ring=FrameRing())
documents, RE = Documents(), RunEngine({})
RE.subscribe(documents)
z.set(1.0).wait(5)
RE(z_stack(camera, 0.2, 0.1, z=z))
try:
    RE(z_stack(camera, 30, 1, z=z))
    refused = ""
except LimitError as error:
    refused = str(error)
print(json.dumps({
    "z": [e["data"]["z"] for e in documents.of("event")],
    "frames": [e["data"]["camera_frame"] for e in documents.of("event")],
    "runs": len(documents.of("start")),
    "motors": documents.of("start")[0]["motors"],
    "home": z.position,
    "refused": refused,
}), flush=True)
import os
os._exit(0)  # libca's threads have nothing left to say
"""


def free_udp_port():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.bind(("127.0.0.1", 0))
        return udp.getsockname()[1]


@pytest.fixture
def network():
    """Channel Access on the loopback, apart from any other on this machine."""
    # A socket on the repeater's port keeps libca from leaving a caRepeater process behind.
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as repeater:
        repeater.bind(("", 0))
        root = Path(__file__).parents[2]
        yield {
            **os.environ,
            "EPICS_CA_SERVER_PORT": str(free_udp_port()),
            "EPICS_CA_REPEATER_PORT": str(repeater.getsockname()[1]),
            "EPICS_CA_ADDR_LIST": "127.0.0.1",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
            "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
            "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root / "tests")]),
        }


@pytest.fixture
def ioc(network):
    command = [sys.executable, "-c", IOC]
    process = subprocess.Popen(command, env=network, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        assert any("ready" in line for line in process.stdout), "the IOC did not come up"
        yield network
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(90)
def test_a_stack_is_taken_with_an_epics_motor(ioc, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(tmp_path)],
        env=ioc,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["z"] == pytest.approx([0.8, 0.9, 1.0, 1.1, 1.2], abs=1e-6)
    assert said["frames"] == [0, 1, 2, 3, 4]
    assert said["motors"] == ["z"]
    assert said["home"] == pytest.approx(1.0, abs=1e-6)
    # The motor record's own limits hold, and nothing has moved or begun.
    assert said["refused"]
    assert said["runs"] == 1
