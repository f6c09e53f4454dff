"""Documents from one process to another: as they were, and never pickled."""

import pickle
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from bluesky.callbacks.zmq import Publisher

from parfocal.callbacks import document_from_wire, listen, publisher


@pytest.fixture
def proxy():
    """Bluesky's own proxy, a process; (where one publishes, where one listens)."""
    with tempfile.TemporaryDirectory() as folder:  # names of sockets are short, pytest's folders are not
        addresses = f"ipc://{folder}/in", f"ipc://{folder}/out"
        command = Path(sys.executable).with_name("bluesky-0MQ-proxy")
        process = subprocess.Popen([command, "--in-address", addresses[0], "--out-address", addresses[1]])
        yield addresses
        process.kill()
        process.wait()


@pytest.fixture
def heard(proxy):
    """What a listener has heard: (documents, reasons)."""
    documents, reasons, until, ready = [], [], threading.Event(), threading.Event()
    thread = threading.Thread(
        target=listen,
        args=(proxy[1], lambda name, doc: documents.append((name, doc)), until),
        kwargs={"on_ready": ready.set, "on_unreadable": reasons.append},
    )
    thread.start()
    assert ready.wait(5)
    yield documents, reasons
    until.set()
    thread.join(5)


def send_until(send, condition):
    """Sockets that have just met lose what is sent first: say it again until it was heard."""
    pause = threading.Event()
    for _ in range(300):
        send()
        pause.wait(0.05)
        if condition():
            return
    raise AssertionError("nothing was heard")


def test_documents_arrive_as_they_were(proxy, heard):
    documents, _ = heard
    sender = publisher(proxy[0])
    send_until(lambda: sender("event", {"data": {"z": np.float64(1.5), "roi": np.arange(3)}}), lambda: documents)
    sender.close()
    assert documents[0] == ("event", {"data": {"z": 1.5, "roi": [0, 1, 2]}})


def test_what_a_stranger_pickled_is_told_and_not_loaded(proxy, heard):
    documents, reasons = heard
    sender = Publisher(proxy[0])  # bluesky's default serializer is pickle
    send_until(lambda: sender("start", {"uid": "1"}), lambda: reasons)
    sender.close()
    assert documents == []
    assert "not a document as JSON" in reasons[0]
    with pytest.raises(ValueError, match="document_to_wire"):
        document_from_wire(pickle.dumps({"uid": "1"}))


def test_threads_share_a_publisher_and_every_document_arrives_whole(proxy, heard):
    """0MQ sockets are not for two threads at a time: a worker whose analyses published too died of it."""
    documents, reasons = heard
    sender = publisher(proxy[0])
    send_until(lambda: sender("start", {"thread": -1}), lambda: documents)
    together = threading.Barrier(4)

    def tell(n):
        together.wait()
        for k in range(100):
            sender("event", {"thread": n, "number": k, "data": "x" * 2000})

    threads = [threading.Thread(target=tell, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def numbers():
        return [[doc["number"] for name, doc in documents if doc["thread"] == n] for n in range(4)]

    pause = threading.Event()
    for _ in range(100):
        if sum(map(len, numbers())) == 400:
            break
        pause.wait(0.05)
    sender.close()
    assert numbers() == [list(range(100))] * 4
    assert not reasons


def test_one_thread_at_a_time_is_in_the_socket(proxy, monkeypatch):
    sender = publisher(proxy[0])
    inside, most, pause = set(), [], threading.Event()

    class Socket:
        def send(self, message):
            inside.add(threading.get_ident())
            pause.wait(0.01)
            most.append(len(inside))
            inside.discard(threading.get_ident())

    with monkeypatch.context() as while_they_send:
        while_they_send.setattr(sender, "_socket", Socket())
        threads = [threading.Thread(target=sender, args=("event", {})) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sender.close()
    assert most == [1] * 4
