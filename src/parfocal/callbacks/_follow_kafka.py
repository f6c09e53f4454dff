"""Documents from Kafka, through bluesky-kafka's consumer, as JSON or msgpack and never pickled.

bluesky-kafka reads with msgpack-numpy, which unpickles arrays of objects, and importing it makes msgpack do so in
the whole process. Here messages are read by msgpack alone, and msgpack is put back as it was.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import msgpack
import numpy as np
import yaml
from msgpack.fallback import unpackb

from parfocal.callbacks._follow_sources import Source, first_few
from parfocal.callbacks._wire import document_from_wire
from parfocal.errors import BadInputError

_PATCHED = ("Packer", "Unpacker", "load", "loads", "dump", "dumps", "pack", "packb", "unpack", "unpackb")


@dataclass(frozen=True)
class KafkaSettings:
    """Where documents come from, as a YAML file says it.

    Attributes
    ----------
    bootstrap_servers : tuple of str
        Such as `broker:9092`.
    topics : tuple of str
        That documents are published to.
    group_id : str
        Of the consumers that share the messages. Two followers that both want all need one each.
    consumer_config : mapping
        More for the consumer, such as `security.protocol`; see librdkafka's CONFIGURATION.md.
    """

    bootstrap_servers: tuple[str, ...]
    topics: tuple[str, ...]
    group_id: str = "parfocal"
    consumer_config: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_kafka_settings(path: Path) -> KafkaSettings:
    """Read settings from a YAML file.

    Raises
    ------
    BadInputError
        It cannot be read, or lacks what is needed; the message says what.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise BadInputError(f"{path}: expected bootstrap_servers, topics, group_id, consumer_config")
    told = cast("dict[str, Any]", content)
    known = [one.name for one in fields(KafkaSettings)]
    for key in told:
        if key not in known:
            raise BadInputError(f"{path}: {key} is unknown, there are: {', '.join(known)}")
    lists: dict[str, tuple[str, ...]] = {}
    for key in ("bootstrap_servers", "topics"):
        value = told.get(key)
        if not isinstance(value, list) or not value:
            raise BadInputError(f"{path}: {key}: a list was expected, such as [{_EXAMPLES[key]}]")
        lists[key] = tuple(str(one) for one in cast("list[Any]", value))
    config = told.get("consumer_config") or {}
    if not isinstance(config, dict):
        raise BadInputError(f"{path}: consumer_config: names and values were expected")
    return KafkaSettings(
        lists["bootstrap_servers"],
        lists["topics"],
        str(told.get("group_id", "parfocal")),
        cast("dict[str, Any]", config),
    )


_EXAMPLES = {"bootstrap_servers": "broker:9092", "topics": "microscope.bluesky.runengine.documents"}


def kafka_source(settings: KafkaSettings) -> Source:
    """Return the documents of Kafka topics.

    Raises
    ------
    BadInputError
        bluesky-kafka is not installed.
    """
    consumer_class = _consumer_class()

    def source(
        receive: Callable[[str, dict[str, Any]], object],
        notice: Callable[[str], object],
        until: threading.Event,
        on_ready: Callable[[], object],
        say: Callable[[str], object],
    ) -> None:
        is_ready, complain = False, first_few(say, "Kafka")

        def process(_: Any, topic: str, message: tuple[str, dict[str, Any]]) -> bool:
            receive(*message)
            return True

        def go_on() -> bool:
            nonlocal is_ready
            if not is_ready and consumer._consumer.assignment():  # noqa: SLF001  (it tells nobody else)
                is_ready = True
                on_ready()
            return not until.is_set()

        consumer = consumer_class(
            topics=list(settings.topics),
            bootstrap_servers=list(settings.bootstrap_servers),
            group_id=settings.group_id,
            consumer_config={"auto.offset.reset": "latest", **settings.consumer_config},
            deserializer=document_from_kafka,
            process_message=process,
        )
        consumer.start_polling(
            continue_polling=go_on,
            on_message_error=lambda message: complain(message.error()),
            on_exception=complain,
        )

    return source


def document_from_kafka(message: bytes) -> tuple[str, dict[str, Any]]:
    """Return name and document of a message: `[name, doc]` as msgpack (bluesky-kafka's own) or as JSON.

    Arrays, as msgpack-numpy writes them, come back as nested lists.

    Raises
    ------
    ValueError
        It is of another form, or holds what only pickle could read.
    """
    try:
        if message[:1] in (b"{", b"["):
            pair: Any = json.loads(message)
            if isinstance(pair, dict):
                wire = cast("dict[str, Any]", pair)
                return str(wire["name"]), document_from_wire(message)
        else:
            pair = unpackb(message, object_hook=_plain)
        name, doc = pair
        if not isinstance(name, str) or not isinstance(doc, dict):
            raise ValueError("[name, document] was expected")
        return name, cast("dict[str, Any]", doc)
    except (KeyError, TypeError, ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"not a document as msgpack or JSON: {error}") from error


def _plain(told: dict[Any, Any]) -> Any:
    """Turn what msgpack-numpy made of an array or a number into lists and numbers."""
    if b"complex" in told:
        return complex(told[b"data"])
    if b"nd" not in told:
        return told
    if told.get(b"kind", b"") in (b"O", b"V"):
        raise ValueError("an array of objects, which only pickle could read")
    values = np.frombuffer(told[b"data"], dtype=np.dtype(told[b"type"]))
    return values.reshape(told[b"shape"]).tolist() if told[b"nd"] else values[0].item()


def _consumer_class() -> Any:
    before = {name: getattr(msgpack, name) for name in _PATCHED}
    try:
        from bluesky_kafka.consume import (  # pyright: ignore[reportMissingImports]  (the extra `kafka`)
            BasicConsumer,
        )
    except ImportError as error:
        raise BadInputError("bluesky-kafka is not installed here: pip install 'parfocal[kafka]'") from error
    finally:
        for name, function in before.items():
            setattr(msgpack, name, function)
    return BasicConsumer
