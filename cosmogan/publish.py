"""Write the folder in which a released generator is published: weights, settings, report, model card."""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cosmogan import __version__, config
from cosmogan.config import Experiment
from cosmogan.gan import released
from cosmogan.reporting import card, catalogue
from cosmogan.reporting.plan import ReportStage
from cosmogan.shards import statistics_file
from hpc import mpi
from hpc.files import read_json, whole_file
from hpc.log import say
from hpc.paths import argument
from hpc.receipts import Receipt

TEXT = """\
Write what Hugging Face and Zenodo take of a run whose report is written: the generator's weights and settings, the
report with its figures, and a model card (README.md) with the claims that the report judged, their noise floor, units,
cosmology, training set and what the generator is not good for; CITATION.cff and LICENSE (MIT). It is uploaded by the
tools of these sites, as `hf upload ORGANISATION/NAME FOLDER`; cosmogan.load_generator reads it by its address."""
EXAMPLE = "python -m cosmogan.publish runs/demo published/demo --author 'Ada Author'"
SHOWN = ("slices", "power", "voxel-pdf")  # figures of the report that the model card shows
WEIGHTS = "generator.safetensors"


def publish(run: Path, folder: Path, authors: Sequence[str] | None) -> None:
    """Write the folder; one that was published before is written again.

    Parameters
    ----------
    run : the folder of a run
    folder : where it goes
    authors : of the generator, for citation and licence; empty or None: "the authors of" the run's name

    Raises
    ------
    ValueError
        when the run has no generator or no report of it, or the folder holds something else.
    """
    experiment = config.load(run / "config.yaml", [f"output={json.dumps(str(run))}"])
    weights = experiment.drawn_from
    settings = released.read_settings(weights)
    _check_reported(experiment, settings["sha256"])
    if folder.exists() and any(folder.iterdir()) and not (folder / WEIGHTS).exists():
        raise ValueError(f"{folder}: expected a new or empty folder, or one published before; it holds other files")
    _copy(weights, folder / WEIGHTS)
    _copy(weights.with_suffix(".json"), (folder / WEIGHTS).with_suffix(".json"))
    shutil.copytree(experiment.report_folder, folder / "report", dirs_exist_ok=True)
    for name, text in _texts(experiment, settings, authors or [f"the authors of {experiment.name}"]).items():
        with whole_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _check_reported(experiment: Experiment, sha256: str) -> None:
    """Raise a ValueError unless the run's report shows what is measured of this generator."""
    drawn = Receipt.recorded(experiment.folder, "sample").get("generator")
    if drawn != sha256 or not ReportStage(experiment).is_done():
        config_path = experiment.folder / "config.yaml"
        raise ValueError(f"{experiment.folder}: no report of its generator; run `cosmogan run {config_path}` first")


def _copy(source: Path, target: Path) -> None:
    with whole_file(target) as temporary:
        shutil.copyfile(source, temporary)


def _texts(experiment: Experiment, settings: dict[str, Any], authors: Sequence[str]) -> dict[str, str]:
    """Return the texts to publish by their files' names."""
    verdict = read_json(ReportStage(experiment).verdict)
    files = {entry.title: f"figures/{entry.name}.png" for entry in catalogue.CATALOGUE if entry.name in SHOWN}
    figures = {title: f"report/{file}" for title, file in files.items() if (experiment.report_folder / file).exists()}
    return {
        "LICENSE": card.licence(authors),
        "CITATION.cff": card.citation(experiment.name, authors, __version__),
        "README.md": card.model_card(settings, verdict, statistics_file.read(experiment.statistics_path), figures),
    }


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    raw = argparse.RawDescriptionHelpFormatter
    reader = argparse.ArgumentParser(prog=prog, description=TEXT, epilog=f"example:\n  {EXAMPLE}", formatter_class=raw)
    reader.add_argument("run", type=argument, metavar="RUN", help="folder of a run, whose report is written")
    reader.add_argument("folder", type=argument, metavar="FOLDER", help="where to write")
    what = "of the generator, for CITATION.cff and LICENSE; once for each (default: the authors of RUN's name)"
    reader.add_argument("--author", action="append", metavar="NAME", help=what)
    return reader


def main(prog: str) -> None:
    """Run the command line."""
    arguments = parser(prog).parse_args()
    with mpi.abort_on_error(mpi.SerialComm()):
        run, folder = Path(arguments.run), Path(arguments.folder)
        publish(run, folder, arguments.author)
        say(f"publish: {folder.resolve()}; read README.md, CITATION.cff and LICENSE before you upload it")


if __name__ == "__main__":
    main("python -m cosmogan.publish")
