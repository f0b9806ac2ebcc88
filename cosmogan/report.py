"""Write the paper's figures and one page that says what was reached."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cosmogan import archive, command, results
from cosmogan.config import Experiment
from cosmogan.reporting import conditions, page, verdict
from hpc import mpi, settings
from hpc.log import clock, say
from hpc.rundir import Receipt, checksum, read_json, whole_file

TEXT = """\
Write report/index.html: a pass/fail table against the paper's claims, the paper's figures with what is seen in them,
settings, data, versions and cost; the images also as report/*.png."""
EXAMPLE = "python -m cosmogan.report configs/demo.yaml"

FACTS = {  # attributes of the file of statistics, in words
    "redshift": "redshift",
    "box_size": "side of a simulation [Mpc/h]",
    "n_mesh": "cells a side of a simulation",
    "subvolume": "cells a side of a subvolume",
    "cell_size": "side of a cell [Mpc/h]",
    "mean_cell_mass": "mass of a mean cell [10¹⁰ M☉/h]",
    "window": "order of the mass assignment (CIC 2)",
    "kappa": "κ of eq. (5)",
    "held_out": "held-out simulations",
    "n_held_out": "held-out subvolumes",
    "n_training": "training subvolumes",
    "n_generated": "generated subvolumes",
    "engine": "engine of the spectra",
    "seed": "seed of pairs and halves",
    "shards_sha256": "SHA-256 of the N-body manifest",
    "samples_sha256": "SHA-256 of the generated manifest",
}


def done(experiment: Experiment) -> bool:
    """Say whether the page shows what is measured now."""
    return (_page_path(experiment)).exists() and experiment.statistics_path.exists() and _receipt(experiment).done()


def report(experiment: Experiment, comm: mpi.Comm) -> None:
    """Write the page and its images.

    Raises
    ------
    ValueError
        when nothing is measured yet: says which stage to run.
    """
    if comm.rank > 0:
        return
    path = _page_path(experiment)
    if done(experiment):
        say(f"report: done: {path.resolve()}")
        return
    tree = results.read(experiment.statistics_path)
    receipt = _receipt(experiment)
    receipt.begin(keep=False)
    judged = [*verdict.rows(tree), *conditions.rows(tree)]
    parts = [*_verdict(experiment, tree, judged), *_figures(experiment, tree, judged)]
    parts += [*conditions.section(tree, experiment.report_folder), *_facts(experiment, tree)]
    with whole_file(path) as temporary:
        temporary.write_text(page.page(f"{tree['name']}: a cosmic web GAN", parts), encoding="utf-8")
    receipt.finish(**{row.name: row.passed for row in judged})
    for group in verdict.GROUPS:
        say(f"report: {verdict.count(judged, group)}")
    say(f"report: {path.resolve()}")


def _page_path(experiment: Experiment) -> Path:
    return experiment.report_folder / "index.html"


def _receipt(experiment: Experiment) -> Receipt:
    """Return the record of what the page shows."""
    shown = {"statistics": experiment.statistics_path, **_sources(experiment)}
    recipe = {name: checksum(path) for name, path in shown.items() if path.exists()}
    return Receipt(experiment.folder, "report", {**recipe, "name": experiment.name})


def _sources(experiment: Experiment) -> dict[str, Path]:
    """Return what the page shows beside the statistics, each of which may be missing."""
    judged = experiment.rejection_path
    return {
        "metrics": experiment.train_folder / "metrics.jsonl",
        "scores": experiment.folder / "select" / "scores.json",
        "generator": experiment.generator_path.with_suffix(".json"),
        **({"rejection": judged} if experiment.sample.rejection and judged.exists() else {}),
    }


def _verdict(experiment: Experiment, tree: results.Tree, judged: list[verdict.Row]) -> Iterator[str]:
    yield page.heading(f"{tree['name']}: generated against N-body", 1)
    met = "; ".join(verdict.count(judged, group) for group in verdict.GROUPS)
    yield page.paragraph(f"{met[0].upper()}{met[1:]}.", "lead")
    size = f"{tree['subvolume']}³ cells of {tree['cell_size']:.3g} Mpc/h at redshift {tree['redshift']:.3g}"
    yield page.paragraph(
        f"{tree['n_generated']} generated subvolumes of {size}, against {tree['n_held_out']} of N-body boxes that "
        f"training never saw (numbers {tree['held_out']}). The noise floor is what N-body reaches against itself: one "
        "half of the held-out boxes against the other, median over the ways to halve them. Halves are smaller than "
        "sets, so it lies a little high; a value at or below it cannot be told from noise. ± is the standard "
        "deviation when the samples are drawn again with replacement.",
        "faint",
    )
    kinds = {"✓ pass": "pass", "✗ fail": "fail", "✗ fail, within noise": "fail"}
    lines = {group: [_line(row) for row in judged if row.group == group] for group in verdict.GROUPS}
    names = ("criterion", "the paper", "this run", "noise floor", "verdict")
    yield page.table("The paper's claims", names, lines[verdict.PAPER], kinds)
    yield page.table("Beyond the paper", names, lines[verdict.BEYOND], kinds)
    demo = [(goal, *rest) for goal, _, *rest in lines[verdict.DEMO]]
    yield page.table("Goals for a run of the demo's size", (names[0], *names[2:]), demo, kinds)


def _line(row: verdict.Row) -> tuple[str, ...]:
    value, error, floor = (verdict.words(getattr(row.found, name), row.unit) for name in ("value", "error", "floor"))
    mark = "✓ pass" if row.passed else "✗ fail, within noise" if row.within_noise else "✗ fail"
    return row.goal, row.paper, value if error == "—" else f"{value} ± {error.removeprefix('× ')}", floor, mark


def _figures(experiment: Experiment, tree: results.Tree, judged: list[verdict.Row]) -> Iterator[str]:
    """Yield the figures in the paper's order, and write them as images too."""
    from cosmogan.reporting import captions, style  # draw with matplotlib

    yield page.heading("Figures, in the paper's order")
    sources = _sources(experiment)
    records, scores = _records(sources["metrics"]), _optional(sources["scores"])
    judged_samples = archive.read_judged(sources["rejection"]) if "rejection" in sources else {}
    for shown in captions.everything(tree, judged, records, scores, judged_samples):
        image = style.png(shown.figure)
        with whole_file(experiment.report_folder / f"{shown.name}.png") as temporary:
            temporary.write_bytes(image)
        yield page.figure(shown.title, shown.caption, image, small=shown.figure.get_figwidth() < 8)


def _facts(experiment: Experiment, tree: results.Tree) -> Iterator[str]:
    """Yield data, generator, cost, versions and settings."""
    yield page.heading("Data")
    yield page.table("Subvolumes and statistics", ("what", "value"), [(FACTS[n], f"{tree[n]}") for n in FACTS])
    generator = _optional(_sources(experiment)["generator"])
    if generator:
        kept = ("epoch", "ema", "latent_scale", "latent_scale_error", "sha256", "data")
        lines = [(name, f"{generator[name]}") for name in kept if name in generator]
        for section in ("scores", "model"):
            lines += [(f"{section}.{name}", f"{value}") for name, value in generator.get(section, {}).items()]
        yield page.table("Released generator", ("what", "value"), lines)
    yield page.heading("Cost and record")
    yield page.table("Stages", ("stage", "state", "results"), _stages(experiment.folder / "receipts"))
    records = _records(_sources(experiment)["metrics"])
    if records:
        yield page.paragraph(f"Training: {_cost(records)}.")
    versions = json.loads(tree["versions"])
    yield page.table("Versions that measured", ("package", "version"), sorted(versions.items()))
    yield page.heading("Settings")
    yield page.preformatted(yaml.safe_dump(settings.to_tree(experiment), sort_keys=False, allow_unicode=True))


def _stages(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield what every stage's receipt says, in the order in which they were written."""
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
        receipt = read_json(path)
        found = ", ".join(f"{name} {value}" for name, value in receipt.get("results", {}).items())
        if receipt.get("stage") != "report":
            yield receipt.get("stage", path.stem), "done" if receipt.get("done") else "begun, not done", found


def _cost(records: list[dict[str, Any]]) -> str:
    """Return how many samples were seen, and how long that took."""
    seconds, before = 0.0, 0
    for record in records:
        if record.get("samples_per_second"):
            seconds += (record["n_seen"] - before) / record["samples_per_second"]
        before = record["n_seen"]
    return f"{before} samples seen, {clock(seconds)} of training steps"


def _records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON-lines file; none when it is missing. A line that was cut off is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [record for record in found if "n_seen" in record]


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


if __name__ == "__main__":
    command.main("cosmogan.report", TEXT, EXAMPLE, report)
