"""A made-up collection of labelled object lists: three makers with lists of their own kind, and what is nobody's."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

COMMON = [(1, 0, "0.0.42.0.0.255"), (8, 0, "0.0.1.0.0.255"), (3, 0, "1.0.1.8.0.255"), (3, 0, "1.0.2.8.0.255")]


def objects(maker: int, model: int, count: int = 60, seed: int = 0) -> list[tuple[int, int, str]]:
    """Objects of a maker's own kind, three quarters of those of a model in each list of it."""
    own = [(3 if i % 2 else 1, i % 3, f"1.{maker}.{128 + maker}.{model * 7 % 20}.{i}.255") for i in range(count)]
    shared = [(4, 0, f"1.0.{20 + maker}.6.{i}.255") for i in range(count // 2)]
    chance = random.Random(f"{maker} {model} {seed}")
    return sorted({*COMMON, *chance.sample(own, count * 3 // 4), *shared})


def write(
    folder: Path, name: str, vendor: str | None, model: str, found: list[tuple[int, int, str]], **more: Any
) -> None:
    view = {
        "vendor": vendor,
        "model": model,
        "source": f"GitHub nobody/lists {name}",
        "source_kind": "device_profile",
        "licence": "MIT",
        "objects": [{"class_id": c, "version": v, "obis": o} for c, v, o in found],
    } | more
    (folder / f"{name}.json").write_text(json.dumps(view), encoding="utf-8")


def write_all(folder: Path) -> None:
    """Four makers; three lists of each of two models; a copy of one; lists of nobody."""
    for number, vendor in enumerate(("Alpha", "Beta", "Gamma", "Delta")):
        for model in range(2):
            for seed in range(3):
                name = f"{vendor}-{model}-{seed}"
                write(folder, name, vendor, f"M{model}", objects(number, model, seed=seed), firmware=f"1.{seed}")
    write(folder, "copy", "Alpha (Holding)", "M0 again", objects(0, 0, seed=0))
    write(folder, "specification", None, "SPEC", objects(7, 0), source_kind="companion_profile")
    write(folder, "merged", "Alpha", "merged", objects(7, 1), source_kind="manufacturer_merged_list")
    (folder / "index.json").write_text("[]", encoding="utf-8")
