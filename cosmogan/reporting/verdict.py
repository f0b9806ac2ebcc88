"""Write which criteria a run meets, for programs: ``verdict.json`` beside the page."""

import math
from pathlib import Path
from typing import Any

from cosmogan.reporting.criteria import BEYOND, DEMO, PAPER, Row
from hpc.files import read_json, write_json

FORMAT = "cosmogan-verdict/1"
GROUPS = {PAPER: "claims", BEYOND: "beyond", DEMO: "demo"}


def write(path: Path, run: str, rows: list[Row]) -> None:
    """Write the file.

    Parameters
    ----------
    path : of the file
    run : its name
    rows : the criteria, in the order of the page's table
    """
    criteria = [_criterion(row) for row in rows]
    met: dict[str, list[bool]] = {}
    for criterion in criteria:
        met.setdefault(criterion["group"], []).append(criterion["met"])
    counts = {group: {"met": sum(each), "of": len(each)} for group, each in met.items()}
    write_json(path, {"format": FORMAT, "run": run, "counts": counts, "criteria": criteria})


def _criterion(row: Row) -> dict[str, Any]:
    distance = row.distance
    return {
        "name": row.name,
        "group": GROUPS[row.group],
        "goal": row.goal,
        "value": _number(distance.value),
        "error": _number(distance.error),
        "noise_floor": _number(distance.floor),
        "limit": row.limit,
        "unit": row.unit,
        "met": row.passed,
        "within_noise": row.within_noise,
        "fixed_by_calibration": row.fixed,
    }


def _number(value: float) -> float | None:
    """Return a number that JSON has; None for one that it has not: not known, or nowhere."""
    return float(value) if math.isfinite(value) else None


def unmet(path: Path, group: str) -> list[str]:
    """Return the names of a group's criteria that are not met, of those that the file holds."""
    return [c["name"] for c in read_json(path)["criteria"] if c["group"] == group and not c["met"]]
