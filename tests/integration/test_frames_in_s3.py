"""Frames that have moved to an S3 bucket: a replay reads them there, and says the same."""

import shutil
import socket
import time

import numpy as np
import pytest

from parfocal.callbacks import replay
from parfocal.catalog import CatalogWriter, open_catalog
from parfocal.devices import Backend, Microscope
from parfocal.errors import BadInputError
from parfocal.frames import Frames, FramesMirror, path_of, uri_of
from parfocal.plans import z_burst, z_stack
from parfocal.session import start_session
from support import CountingSource, InstantStage, Lamp

moto_server = pytest.importorskip("moto.server", reason="moto is not installed")


@pytest.fixture
def bucket(monkeypatch):
    """A bucket on a local S3 server, found and opened by the variables that every AWS program reads."""
    boto3 = pytest.importorskip("boto3")
    for name, value in {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="microscope")
    yield client
    client.close()
    server.stop()


def sync(client, folder, prefix):
    """Copy a folder, as `aws s3 sync` does."""
    for path in folder.rglob("*"):
        if path.is_file():
            client.put_object(
                Bucket="microscope", Key=f"{prefix}/{path.relative_to(folder).as_posix()}", Body=path.read_bytes()
            )


@pytest.mark.parametrize("plan", [lambda m: z_stack(m, 2.0, 1.0), lambda m: z_burst(m, n_frames=5)])
def test_a_replay_reads_frames_that_have_moved_to_s3(served_folder, bucket, monkeypatch, plan):
    session = start_session(served_folder.root)
    microscope = Microscope(name="microscope", backend=Backend("bench", CountingSource(), InstantStage(), Lamp()))
    session.use(microscope)
    uid = session.RE(plan(microscope))[0]
    assert session.close(60)
    microscope.destroy()
    with open_catalog(served_folder) as catalog:
        (here,) = replay([uid], "focus_scores", catalog=catalog)
        address = next(doc["uri"] for name, doc in catalog.documents(uid) if name == "stream_resource")
        group = path_of(address).parent
        sync(bucket, group, f"scope1/{group.relative_to(served_folder.frames).as_posix()}")
        shutil.rmtree(group)
        monkeypatch.setenv("PARFOCAL_FRAMES_MIRROR", "s3://microscope/scope1")
        writer = CatalogWriter(catalog)
        (there,) = replay([uid], "focus_scores", catalog=catalog, writer=writer, if_done="supersede")
        assert writer.close()
        assert there.status == here.status, there.reason
        for key in ("mean_adu", "raw_frame", "z_um"):
            ours, theirs = (catalog.run(one.derived_uid)["scores"][key].read() for one in (here, there))
            np.testing.assert_array_equal(ours, theirs)


def test_an_array_is_read_by_its_s3_address_and_a_missing_one_is_a_line(bucket, tmp_path):
    with pytest.raises(BadInputError, match="cannot be read: NOT_FOUND") as refused:
        Frames().get("s3://microscope/nothing/0", 0)
    assert "\n" not in str(refused.value)
    elsewhere = FramesMirror(tmp_path / "frames", "s3://microscope")
    assert elsewhere.address_of(uri_of(tmp_path / "other" / "0")) == ""


def test_a_bucket_that_does_not_answer_is_a_line_in_a_known_time_and_tried_once(monkeypatch, tmp_path):
    with socket.socket() as nobody:  # bound, and never answers
        nobody.bind(("127.0.0.1", 0))
        nobody.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setattr("parfocal.frames._frames.S3_TIMEOUT_S", 0.5)
        began = time.monotonic()
        with pytest.raises(BadInputError, match="did not answer within 0") as refused:
            Frames().get("s3://microscope/scope1/0", 0)
        assert "\n" not in str(refused.value)
        remote = np.ones((2, 2))
        mirrored = Frames(remote=lambda uri, index: remote, mirror=FramesMirror(tmp_path, "s3://microscope"))
        for index in range(10):
            assert mirrored.get(uri_of(tmp_path / "gone" / "0"), index) is remote
        assert time.monotonic() - began < 4.0, "ten frames, and one wait"


def test_a_mirror_that_is_no_bucket_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="s3://BUCKET/PREFIX was expected"):
        FramesMirror(tmp_path, "https://example.org/frames")
