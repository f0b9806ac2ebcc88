"""The report's tables of facts: data, generator, cost, versions, and in what runs differ."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from cosmogan.reporting import page
from cosmogan.reporting.runs import Run
from cosmogan.shards.statistics_file import Tree
from hpc.files import read_json
from hpc.log import clock

DATA = {  # attributes of the file of statistics, in words
    "samples_source": "generated subvolumes from",
    "reference_source": "N-body subvolumes from",
    "training_source": "training subvolumes from",
    "redshift": "redshift",
    "box_size": "side of a simulation [Mpc/h]",
    "n_mesh": "cells a side of a simulation",
    "subvolume": "cells a side of a subvolume",
    "cell_size": "side of a cell [Mpc/h]",
    "mean_cell_mass": "mass of a mean cell [10¹⁰ M☉/h]",
    "window": "order of the mass assignment (CIC 2)",
    "kappa": "κ of eq. (5)",
    "held_out": "held-out simulations",
    "n_boxes": "held-out boxes",
    "n_held_out": "held-out subvolumes",
    "n_training": "training subvolumes",
    "n_generated": "generated subvolumes",
    "floor_kind": "noise floor: N-body split by",
    "engine": "engine of the spectra",
    "k_bins": "wavenumber bins",
    "correction_window": "order of the window taken out of spectra (0: none)",
    "shot_noise": "shot noise taken off P(k)",
    "seed": "seed of pairs and halves",
    "shards_sha256": "SHA-256 of the N-body file or manifest",
    "samples_sha256": "SHA-256 of the generated file or manifest",
}
OF_SHARDS = ("box_size", "n_mesh", "window")  # that a file of volumes alone does not say
LONGEST = 200  # letters of a value: the numbers of thousands of boxes say no more
GENERATOR = ("epoch", "ema", "latent_scale", "latent_scale_error", "sha256", "data")


def data(runs: Sequence[Run]) -> str:
    """Return what was measured as a table with a column for each run; what is not known is left out."""
    rows = []
    for name, words in DATA.items():
        values = [_text(run.tree.get(name) if run.tree["window"] or name not in OF_SHARDS else None) for run in runs]
        if any(values):
            rows.append((words, *(value or "—" for value in values)))
    return page.table("Subvolumes and statistics", ("what", *_names(runs)), rows)


def _names(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(run.name for run in runs) if len(runs) > 1 else ("value",)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else f"{value}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def differences(runs: Sequence[Run]) -> str:
    """Return the settings that all runs have, and not the same, as a table."""
    flat = [dict(_flat("", run.settings)) for run in runs]
    rows = []
    for name in flat[0]:
        values = [json.dumps(tree[name], ensure_ascii=False) for tree in flat if name in tree]
        if len(set(values)) > 1 and len(values) == len(runs) and name not in ("name", "output", "data"):
            rows.append((name, *values))
    if not rows:
        return page.paragraph("Settings in which the runs differ: none that is recorded in their config.yaml.")
    return page.table("Settings in which the runs differ", ("setting", *_names(runs)), rows)


def _flat(prefix: str, tree: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value


def generator(settings: dict[str, Any]) -> str:
    """Return what the released generator is, as a table."""
    rows = [(name, _text(settings[name])) for name in GENERATOR if name in settings]
    for section in ("scores", "model"):
        rows += [(f"{section}.{name}", _text(value)) for name, value in settings.get(section, {}).items()]
    return page.table("Released generator", ("what", "value"), rows)


def cost(run: Run, folder: Path) -> Iterator[str]:
    """Yield what the stages recorded, and how long training and measuring took."""
    stages = list(_stages(folder / "receipts"))
    if stages:
        yield page.table("Stages", ("stage", "state", "results"), stages)
    if run.records:
        yield page.paragraph(f"Training: {_training(run.records)}.")
    if "cost" in run.tree:
        yield page.paragraph(f"Statistics: {_measuring(json.loads(run.tree['cost']))}.")


def _stages(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield what every stage's receipt says, in the order in which they were written."""
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
        receipt = read_json(path)
        results = ", ".join(f"{name} {_text(value)}" for name, value in receipt.get("results", {}).items())
        if receipt.get("stage") != "report":
            yield receipt.get("stage", path.stem), "done" if receipt.get("done") else "begun, not done", results


def _training(records: list[dict[str, Any]]) -> str:
    """Return how many samples were seen, and how long that took."""
    seconds, before = 0.0, 0
    for record in records:
        if record.get("samples_per_second"):
            seconds += (record["n_seen"] - before) / record["samples_per_second"]
        before = record["n_seen"]
    return f"{before} samples seen, {clock(seconds)} of training steps"


def _measuring(record: Tree) -> str:
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in record.get("stages", {}).items())
    ranks = f"{record['ranks']} rank{'' if record['ranks'] == 1 else 's'}"
    return f"{clock(record['seconds'])} on {ranks}, {record['device']}" + (f": {stages}" if stages else "")


def versions(tree: Tree) -> str:
    """Return what measured, as a table."""
    return page.table("Versions that measured", ("package", "version"), sorted(json.loads(tree["versions"]).items()))


def settings(run: Run) -> str:
    """Return the settings of the experiment as YAML; those of validation alone where nothing was trained here."""
    own = bool(run.generator or run.records)
    shown = run.settings if own else {"validate": run.settings["validate"]}
    return page.preformatted(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True))
