"""The figures of an evaluation as tables in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(results: Mapping[str, Any]) -> str:
    """All tables; a share stands with its number of cases and its interval of 95 %."""
    parts = [_emulated(results["emulated"])] if "emulated" in results else []
    if "collection" in results:
        lists = results["lists"]
        parts = [
            [_collection(results["collection"])],
            _known(lists),
            _decisions(lists),
            _models(lists),
            _identifiers(results),
            _confusion(lists["one list left out"]["confusion"]),
            *parts,
        ]
    return "\n\n".join("\n".join(part) for part in parts)


def _collection(collection: Mapping[str, Any]) -> str:
    makers = ", ".join(f"{name} {count}" for name, count in collection["lists_of_makers"].items())
    return (
        f"{collection['files']} files, of which {collection['no_meters']} are no meter's (specifications, merged lists, no "
        f"maker); {collection['distinct_lists']} distinct lists of {collection['makers']} makers, "
        f"{collection['makers_with_several_lists']} of them with more than one: {makers}. "
        f"Collection `{collection['sha256'][:16]}`."
    )


def _emulated(emulated: Mapping[str, Any]) -> list[str]:
    rows = [(name, _share(each["maker"]), _share(each["model_among_three"])) for name, each in emulated.items()]
    return _table(("emulated meters of models that were learned", "maker right", "model among three"), rows)


def _known(lists: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            name,
            _share(each["makers_known"]["right"]),
            _share(each["makers_known"]["said_unknown"]),
            _share(each["makers_known"]["likest"]),
            _percent(each["makers_known"]["likest_macro"]),
            _share(each["nearest_neighbour"]["right"]),
            _percent(each["nearest_neighbour"]["macro"]),
        )
        for name, each in lists.items()
        if "makers_known" in each
    ]
    head = (
        "object lists alone, maker known from other lists",
        "named, and right",
        "said unknown",
        "likest is right",
        "… macro",
        "nearest neighbour is right",
        "… macro",
    )
    return _table(head, rows)


def _decisions(lists: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            name,
            _share(each["makers_never_seen"]["said_unknown"]) if "makers_never_seen" in each else "",
            _share(each["of_those_named_right"]),
            _share(each["all_decisions_right"]),
            _share(each["nearest_all_decisions_right"]),
            f"{each['ece']:.3f}",
        )
        for name, each in lists.items()
    ]
    head = (
        "object lists alone",
        "maker never seen: said unknown",
        "named: right",
        "all decisions right",
        "… nearest neighbour",
        "calibration error",
    )
    return _table(head, rows)


def _models(lists: Mapping[str, Any]) -> list[str]:
    rows = [
        (name, _share(each["model_first"]), _share(each["model_among_three"]))
        for name, each in lists.items()
        if "model_first" in each
    ]
    return _table(("model known from other lists", "first", "among three"), rows)


def _identifiers(results: Mapping[str, Any]) -> list[str]:
    rows = [(name, _share(each)) for name, each in results["identifiers"].items()]
    rows.append(("all forms", _share(results["identifiers_of_all_forms"])))
    pushes = results.get("pushes")
    if pushes:
        rows.append((f"real pushes of {pushes['makers']} makers, identifier readable", _share(pushes["readable"])))
        rows.append(("… no identifier readable: said unknown", _share(pushes["not_readable_said_unknown"])))
    calibration = results["calibration"]
    rows.append(("calibration error, lists and makers left out", f"{calibration['ece']:.3f} (n {calibration['n']})"))
    return _table(("identifier readable", "maker right"), rows)


def _confusion(wrong: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [(str(each["is"]), str(each["said"]), str(each["n"])) for each in wrong]
    return _table(("one list left out: is", "said", "lists"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _share(each: Mapping[str, Any]) -> str:
    if not each["n"]:
        return "none"
    return (
        f"{_percent(each['share'])} ({each['right']}/{each['n']}; {each['low'] * 100:.0f} to {each['high'] * 100:.0f})"
    )


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
