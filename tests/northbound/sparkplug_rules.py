"""Statements of the Sparkplug specification 3.0 that an edge node has to keep: id, our own words, and how it is seen.

A check takes all messages that an independent client heard, in their order. Those that only the connection shows (the will, clean
sessions, subscriptions) have tests of their own in `test_sparkplug.py`, and are named there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .sparkplug_reader import HOLDER, VALUES, Metric, Said, read

GROUP, NODE = "plant", "north"
OF_NODE = ("NBIRTH", "NDATA", "NDEATH")
OF_DEVICE = ("DBIRTH", "DDATA", "DDEATH")
BIRTHS = ("NBIRTH", "DBIRTH")
DATA = ("NDATA", "DDATA")


@dataclass
class Heard:
    verb: str
    device: str
    said: Said
    qos: int
    retain: bool
    topic: str


Trace = Sequence[Heard]
RULES: dict[str, tuple[str, Callable[[Trace], None]]] = {}


def hear(messages: Sequence[Any]) -> list[Heard]:
    """Messages of the edge node; commands and states of hosts are not its own."""
    heard = []
    for each in messages:
        levels = each.topic.split("/")
        if levels[0] != "spBv1.0" or levels[1] == "STATE" or levels[2] in ("NCMD", "DCMD"):
            continue
        device = levels[4] if len(levels) > 4 else ""
        heard.append(Heard(levels[2], device, read(bytes(each.payload)), each.qos, each.retain, each.topic))
    return heard


def rule(ids: str, words: str) -> Callable[[Callable[[Trace], None]], Callable[[Trace], None]]:
    def enter(check: Callable[[Trace], None]) -> Callable[[Trace], None]:
        for each in ids.split():
            assert each not in RULES
            RULES[f"tck-id-{each}"] = (words, check)
        return check

    return enter


def of(trace: Trace, *verbs: str) -> Iterator[Heard]:
    return (each for each in trace if each.verb in verbs)


def metrics(trace: Trace, *verbs: str) -> Iterator[Metric]:
    return (metric for each in of(trace, *verbs) for metric in each.said.metrics)


def lives(trace: Trace) -> list[list[Heard]]:
    """What was said between births of the node, each with its NBIRTH first."""
    found: list[list[Heard]] = []
    for each in trace:
        if each.verb == "NBIRTH":
            found.append([])
        if found and each.verb != "NDEATH":
            found[-1].append(each)
    return found


@rule(
    "topic-structure topic-structure-namespace-a topics-nbirth-topic topics-ndata-topic topics-ndeath-topic"
    " topics-dbirth-topic"
    " topics-ddata-topic topics-ddeath-topic topic-structure-namespace-device-id-associated-message-types"
    " topic-structure-namespace-device-id-non-associated-message-types"
    " message-flow-device-birth-publish-dbirth-match-edge-node-topic"
    " message-flow-edge-node-birth-publish-nbirth-topic message-flow-device-birth-publish-dbirth-topic",
    "topics are spBv1.0/GROUP/VERB/NODE, with /DEVICE for the verbs of devices and for no others",
)
def _topics(trace: Trace) -> None:
    for each in trace:
        tail = f"/{each.device}" if each.verb in OF_DEVICE else ""
        assert each.verb in OF_NODE + OF_DEVICE
        assert each.topic == f"spBv1.0/{GROUP}/{each.verb}/{NODE}{tail}"
        assert bool(each.device) == (each.verb in OF_DEVICE)


@rule(
    "topics-nbirth-mqtt topics-ndata-mqtt topics-dbirth-mqtt topics-ddata-mqtt topics-ddeath-mqtt payloads-nbirth-qos"
    " payloads-nbirth-retain payloads-dbirth-qos payloads-dbirth-retain payloads-ndata-qos"
    " payloads-ndata-retain payloads-ddata-qos"
    " payloads-ddata-retain"
    " message-flow-edge-node-birth-publish-nbirth-qos message-flow-edge-node-birth-publish-nbirth-retained"
    " message-flow-device-birth-publish-dbirth-qos message-flow-device-birth-publish-dbirth-retained",
    "all but NDEATH go with QoS 0, and nothing is retained",
)
def _qos(trace: Trace) -> None:
    for each in trace:
        assert each.qos == (1 if each.verb == "NDEATH" else 0)
        assert not each.retain


@rule(
    "topics-nbirth-seq-num topics-ndata-seq-num topics-dbirth-seq topics-ddata-seq-num topics-ddeath-seq-num"
    " payloads-nbirth-seq"
    " payloads-dbirth-seq payloads-dbirth-seq-inc payloads-ndata-seq payloads-ndata-seq-inc"
    " payloads-ddata-seq payloads-ddata-seq-inc"
    " payloads-ddeath-seq payloads-ddeath-seq-inc payloads-ddeath-seq-number payloads-sequence-num-always-included"
    " payloads-sequence-num-req-nbirth payloads-sequence-num-incrementing"
    " message-flow-edge-node-birth-publish-nbirth-payload-seq message-flow-device-birth-publish-dbirth-payload-seq",
    "NBIRTH has the sequence number 0, each message after it one more, and 0 again after 255",
)
def _sequence(trace: Trace) -> None:
    for life in lives(trace):
        for index, each in enumerate(life):
            assert each.said.seq == index % 256


@rule("topics-ndeath-seq payloads-ndeath-seq", "NDEATH has no sequence number")
def _no_sequence(trace: Trace) -> None:
    assert all(each.said.seq is None for each in of(trace, "NDEATH"))


@rule("topics-ndeath-payload", "NDEATH has one metric, bdSeq")
def _death(trace: Trace) -> None:
    assert all([metric.name for metric in each.said.metrics] == ["bdSeq"] for each in of(trace, "NDEATH"))


@rule(
    "topics-nbirth-timestamp topics-ndata-timestamp topics-dbirth-timestamp topics-ddata-timestamp"
    ""
    " payloads-nbirth-timestamp payloads-dbirth-timestamp payloads-ndata-timestamp payloads-ddata-timestamp"
    " payloads-ddeath-timestamp"
    " payloads-timestamp-in-UTC",
    "every message says when it was sent, in milliseconds (UTC)",
)
def _timestamps(trace: Trace) -> None:
    assert all(each.said.timestamp and each.said.timestamp > 1_600_000_000_000 for each in trace)


@rule(
    "topics-nbirth-metrics topics-dbirth-metrics payloads-metric-datatype-req payloads-metric-datatype-value-type"
    " payloads-metric-datatype-value operational-behavior-data-publish-nbirth-values"
    " operational-behavior-data-publish-dbirth-values",
    "in births every metric has a name, a datatype, and a value of it, or says that it is null and has none",
)
def _births_are_whole(trace: Trace) -> None:
    for metric in metrics(trace, *BIRTHS):
        assert metric.name
        datatype = metric.fields["datatype"]
        if metric.value is not None:
            assert VALUES & metric.fields.keys() == {HOLDER[datatype]}


@rule("payloads-metric-datatype-not-req", "data does not repeat datatypes")
def _data_has_no_types(trace: Trace) -> None:
    assert not any("datatype" in metric.fields for metric in metrics(trace, *DATA))


@rule(
    "topics-nbirth-metric-reqs topics-dbirth-metric-reqs operational-behavior-data-publish-nbirth"
    " operational-behavior-data-publish-dbirth"
    " message-flow-device-birth-publish-nbirth-wait payloads-ndata-order payloads-ddata-order"
    " principles-birth-certificates-order",
    "the node is born first, then its devices; data only has metrics of the last birth of who says it, and of"
    " the living",
)
def _born_before(trace: Trace) -> None:
    assert next(iter(trace)).verb == "NBIRTH"
    born: dict[str, set[int]] = {}
    for each in trace:
        if each.verb == "NBIRTH":
            born.clear()
        if each.verb in BIRTHS:
            born[each.device] = {metric.fields["alias"] for metric in each.said.metrics if "alias" in metric.fields}
        elif each.verb in DATA:
            assert {metric.fields["alias"] for metric in each.said.metrics} <= born[each.device]
        elif each.verb == "DDEATH":
            del born[each.device]
        elif each.verb == "NDEATH":
            born.clear()


@rule(
    "payloads-dbirth-order",
    "the devices that there are are born immediately after the node, before any data",
)
def _births_together(trace: Trace) -> None:
    for life in lives(trace):
        verbs = [each.verb for each in life]
        first = next((index for index, verb in enumerate(verbs) if verb in DATA), len(verbs))
        assert set(verbs[1:first]) <= {"DBIRTH", "DDEATH"}


@rule(
    "payloads-alias-uniqueness payloads-alias-birth-requirement payloads-name-requirement"
    " operational-behavior-data-commands-rebirth-name-aliases",
    "births give each name an alias, one for each metric of the node and all devices; but none to Rebirth"
    " (nor to bdSeq, which NDEATH"
    " has to name)",
)
def _aliases(trace: Trace) -> None:
    for life in lives(trace):
        named: dict[int, tuple[str, str]] = {}
        for each in of(life, *BIRTHS):
            for metric in each.said.metrics:
                if metric.name in ("bdSeq", "Node Control/Rebirth"):
                    assert "alias" not in metric.fields
                    continue
                who = each.device, metric.name
                assert named.setdefault(metric.fields["alias"], who) == who
        assert len(set(named.values())) == len(named)


@rule("payloads-alias-data-cmd-requirement", "data names metrics by their aliases only")
def _data_by_alias(trace: Trace) -> None:
    for metric in metrics(trace, *DATA):
        assert "alias" in metric.fields
        assert "name" not in metric.fields


@rule(
    "payloads-name-birth-data-requirement payloads-metric-timestamp-in-UTC",
    "every metric of births and data has a time (UTC)",
)
def _metric_times(trace: Trace) -> None:
    assert all(metric.fields["timestamp"] > 1_600_000_000_000 for metric in metrics(trace, *BIRTHS, *DATA))


@rule("case-sensitivity-metric-names", "names of metrics differ by more than case")
def _cases(trace: Trace) -> None:
    for each in of(trace, *BIRTHS):
        names = [metric.name.lower() for metric in each.said.metrics]
        assert len(set(names)) == len(names)


@rule(
    "topics-nbirth-bdseq-included payloads-nbirth-bdseq message-flow-edge-node-birth-publish-nbirth-payload-bdSeq"
    " topics-nbirth-bdseq-matching payloads-nbirth-bdseq-repeat payloads-ndeath-bdseq"
    " operational-behavior-data-commands-rebirth-action-3",
    "NBIRTH has bdSeq, an Int64; it is that of the NDEATH that ends this session, and the same at a rebirth",
)
def _bd_seq(trace: Trace) -> None:
    current = None
    for each in of(trace, "NBIRTH", "NDEATH"):
        metric = each.said.metric("bdSeq")
        assert metric.fields["datatype"] == 4
        if current is not None:
            assert metric.value == current
        current = metric.value if each.verb == "NBIRTH" else None


@rule(
    "topics-nbirth-bdseq-increment message-flow-edge-node-birth-publish-will-message-payload-bdSeq",
    "bdSeq begins with 0 and is one more with each connection, 0 again after 255",
)
def _bd_seq_grows(trace: Trace) -> None:
    deaths = [each.said.metric("bdSeq").value for each in of(trace, "NDEATH")]
    assert deaths == [index % 256 for index in range(len(deaths))]


@rule(
    "topics-nbirth-rebirth-metric payloads-nbirth-rebirth-req operational-behavior-data-commands-rebirth-name"
    " operational-behavior-data-commands-rebirth-datatype operational-behavior-data-commands-rebirth-value",
    "NBIRTH has 'Node Control/Rebirth', a Boolean that is false",
)
def _rebirth(trace: Trace) -> None:
    for each in of(trace, "NBIRTH"):
        metric = each.said.metric("Node Control/Rebirth")
        assert (metric.fields["datatype"], metric.fields["boolean_value"]) == (11, 0)


@rule(
    "operational-behavior-data-publish-nbirth-order operational-behavior-data-publish-dbirth-order",
    "in one message, what is not historical is in the order of its times",
)
def _chronological(trace: Trace) -> None:
    for each in of(trace, *BIRTHS, *DATA):
        times = [metric.fields["timestamp"] for metric in each.said.metrics if not metric.fields.get("is_historical")]
        assert times == sorted(times)


@rule(
    "topics-ndata-payload operational-behavior-data-publish-nbirth-change",
    "NDATA has what has changed of the node, and nothing else",
)
def _node_data(trace: Trace) -> None:
    last: dict[int, Any] = {}
    for each in of(trace, "NBIRTH", "NDATA"):
        for metric in each.said.metrics:
            alias = metric.fields.get("alias")
            if alias is not None:
                assert each.verb == "NBIRTH" or last[alias] != metric.value
                last[alias] = metric.value


@rule(
    "payloads-propertyset-quality-value-type payloads-propertyset-quality-value-value"
    " payloads-metric-propertyvalue-type-type"
    " payloads-metric-propertyvalue-type-req payloads-propertyset-keys-array-size"
    " payloads-propertyset-values-array-size",
    "property sets have as many keys as values, each with its type; Quality is an Int32 of 0, 192 or 500",
)
def _properties(trace: Trace) -> None:
    for metric in metrics(trace, *BIRTHS, *DATA):
        for key, (datatype, value) in metric.properties.items():
            if key == "Quality":
                assert datatype == 3
                assert value in (0, 192, 500)
            else:
                assert datatype == 12
                assert isinstance(value, str)


@rule("operational-behavior-device-ddeath", "a device that dies was born, and is born again before it says more")
def _deaths(trace: Trace) -> None:
    for life in lives(trace):
        alive: set[str] = set()
        for each in life:
            if each.verb == "DBIRTH":
                alive.add(each.device)
            elif each.verb == "DDEATH":
                alive.remove(each.device)
            elif each.verb == "DDATA":
                assert each.device in alive


@rule(
    "operational-behavior-edge-node-intentional-disconnect-ndeath payloads-ndeath-will-message-publisher"
    " payloads-ndeath-will-message-publisher-disconnect-mqtt311",
    "each session ends with an NDEATH",
)
def _ends(trace: Trace) -> None:
    born = False
    for each in trace:
        if each.verb == "NBIRTH":
            born = True
        elif each.verb == "NDEATH":
            born = False
        else:
            assert born
    assert not born


@rule(
    "intro-group-id-string intro-group-id-chars intro-edge-node-id-string intro-edge-node-id-chars"
    " intro-device-id-string"
    " intro-device-id-chars topic-structure-namespace-valid-group-id topic-structure-namespace-valid-edge-node-id"
    " topic-structure-namespace-valid-device-id topic-structure-namespace-unique-device-id",
    "ids have no +, / and #, and each device has one of its own",
)
def _ids(trace: Trace) -> None:
    for each in trace:
        assert not set("+#") & set(each.topic)
        assert each.topic.count("/") == (4 if each.device else 3)


def check(messages: Sequence[Any], *, whole: bool = True) -> list[Heard]:
    """All statements, of all that was heard; `whole` when the last session has ended."""
    trace = hear(messages)
    for name, (words, holds) in RULES.items():
        if holds is _ends and not whole:
            continue
        try:
            holds(trace)
        except (AssertionError, KeyError, ValueError) as error:
            raise AssertionError(f"{name}: {words}: {error!r}") from error
    return trace
