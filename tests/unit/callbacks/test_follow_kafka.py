"""Documents through Kafka: a real broker (librdkafka has one), the consumer of bluesky-kafka, and no pickle."""

import json
import pickle
import threading

import msgpack
import msgpack_numpy
import numpy as np
import pytest

from parfocal.callbacks import KafkaSettings, document_to_wire, kafka_source, read_kafka_settings
from parfocal.callbacks._follow_kafka import document_from_kafka
from parfocal.callbacks._follow_sources import first_few
from parfocal.errors import BadInputError


def packed(doc):
    """As bluesky-kafka's publisher writes it."""
    return msgpack_numpy.packb(("event", doc))


def test_documents_are_read_as_bluesky_kafka_and_as_we_write_them():
    doc = {"uid": "1", "data": {"z": np.float64(1.5), "spectrum": np.arange(6.0).reshape(2, 3)}}
    plain = {"uid": "1", "data": {"z": 1.5, "spectrum": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]}}
    assert document_from_kafka(packed(doc)) == ("event", plain)
    assert document_from_kafka(json.dumps(["event", plain]).encode()) == ("event", plain)
    assert document_from_kafka(document_to_wire(plain)) == ("", plain)


class Bomb:
    gone_off = False

    def __reduce__(self):
        return (setattr, (Bomb, "gone_off", True))


def test_nothing_is_ever_unpickled():
    message = packed({"uid": "1", "data": {"x": np.array([Bomb()], dtype=object)}})
    msgpack_numpy.unpackb(message)
    assert Bomb.gone_off, "what bluesky-kafka reads with does unpickle"
    Bomb.gone_off = False
    with pytest.raises(ValueError, match="only pickle could read"):
        document_from_kafka(message)
    with pytest.raises(ValueError, match="not a document"):
        document_from_kafka(pickle.dumps(("event", {"x": Bomb()})))
    assert not Bomb.gone_off


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("topics: [a]", "bootstrap_servers: a list was expected"),
        ("bootstrap_servers: [a:1]\ntopics: a", "topics: a list was expected"),
        ("bootstrap_servers: [a:1]\ntopics: [a]\ngroup: b", "group is unknown, there are: bootstrap_servers"),
        ("- a", "expected bootstrap_servers"),
        ("{", "cannot be read"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path, text, complaint):
    path = tmp_path / "kafka.yml"
    path.write_text(text)
    with pytest.raises(BadInputError, match=complaint):
        read_kafka_settings(path)


def test_documents_of_a_real_broker_are_heard(tmp_path):
    confluent_kafka = pytest.importorskip("confluent_kafka", reason="the extra `kafka` is not installed")
    pytest.importorskip("bluesky_kafka", reason="the extra `kafka` is not installed")
    unpackb = msgpack.unpackb
    path = tmp_path / "kafka.yml"
    broker = confluent_kafka.Producer({"test.mock.num.brokers": 1})
    (address,) = (f"{one.host}:{one.port}" for one in broker.list_topics(timeout=10).brokers.values())
    path.write_text(f"bootstrap_servers: ['{address}']\ntopics: [documents]\ngroup_id: test\n")
    settings = read_kafka_settings(path)
    assert settings == KafkaSettings((address,), ("documents",), "test")
    broker.produce("documents", packed({"uid": "before"}))
    broker.flush(10)

    heard, said, until, ready = [], [], threading.Event(), threading.Event()
    source = kafka_source(settings)
    assert msgpack.unpackb is unpackb, "others in this process read as before"
    arguments = (lambda name, doc: heard.append((name, doc)), lambda uid: None, until, ready.set, said.append)
    thread = threading.Thread(target=source, args=arguments)
    thread.start()
    assert ready.wait(30)
    try:
        for _ in range(100):
            broker.produce("documents", packed({"uid": "after", "data": {"x": np.array([1, 2])}}))
            broker.produce("documents", packed({"uid": "bad", "data": {"x": np.array([None])}}))
            broker.flush(10)
            if heard and said:
                break
            until.wait(0.1)
    finally:
        until.set()
        thread.join(30)
    assert heard[0] == ("event", {"uid": "after", "data": {"x": [1, 2]}})
    assert "only pickle could read" in said[0]


def test_of_messages_that_cannot_be_read_the_first_three_are_said():
    said = []
    complain = first_few(said.append, "Kafka")
    for k in range(5):
        complain(ValueError(f"not\n a document {k}"))
    assert said == [f"Kafka: not a document {k}" for k in range(3)]
