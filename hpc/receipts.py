"""Record that a stage is done: with which settings, inputs and versions."""

import contextlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hpc import settings
from hpc.files import read_json, write_json


@cache
def provenance() -> dict[str, str]:
    """Return the versions of all that computes here and the git revision, where there is one."""
    names = ("cosmogan", "torch", "numpy", "h5py", "mpi4py")
    versions = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    checkout = Path(__file__).parent.parent
    if (checkout / ".git").exists() and shutil.which("git"):
        command = ["git", "--no-optional-locks", "-C", str(checkout), "describe", "--always", "--dirty"]
        git = subprocess.run(command, capture_output=True, text=True, check=False)
        if git.returncode == 0:
            versions["revision"] = git.stdout.strip()
    return versions


class Receipt:
    """The record ``<folder>/receipts/<stage>.json`` that a stage is done: its settings and its inputs.

    Parameters
    ----------
    folder : the run's folder
    stage : the stage's name
    recipe : plain data on which the result depends: the settings that it reads and its inputs' checksums
    """

    def __init__(self, folder: Path | str, stage: str, recipe: Mapping[str, object]) -> None:
        self.path = Path(folder) / "receipts" / f"{stage}.json"
        self.stage = stage
        self.recipe = json.loads(json.dumps(recipe))

    @staticmethod
    def recorded(folder: Path | str, stage: str) -> dict[str, Any]:
        """Return the recipe that a folder's record of a stage holds; empty when there is none."""
        path = Path(folder) / "receipts" / f"{stage}.json"
        return read_json(path).get("recipe", {}) if path.exists() else {}

    def done(self) -> bool:
        """Say whether the stage was finished with just this recipe."""
        return self.path.exists() and self._read().get("done", False) and not self._differences()

    def begin(self, *, keep: bool, allowed: tuple[str, ...] = (), **results: object) -> None:
        """Record that the stage has begun.

        Parameters
        ----------
        keep : the stage's output took long: refuse when it was made with another recipe
        allowed : settings that may differ all the same, as ``train.generator_rate``; a section stands for all in it
        results : what is worth saying before the end

        Raises
        ------
        ValueError
            when ``keep`` and the recorded recipe differs: names the first difference.
        """
        if keep:
            self.check(allowed)
        self._write(done=False, results=results)

    def check(self, allowed: tuple[str, ...] = ()) -> None:
        """Raise a ValueError when there is a record with another recipe, but for the settings ``allowed`` to differ."""
        changed = [line for line in self._differences() if not _names(line, allowed)] if self.path.exists() else []
        if changed:
            raise ValueError(
                f"{self.path}: `{self.stage}` was begun here with other settings ({'; '.join(changed[:3])}); "
                "use another `output`, or delete this stage's files and this record"
            )

    def finish(self, **results: object) -> None:
        """Record that the stage is done, and its results."""
        self._write(done=True, results=results)

    def results(self) -> dict[str, Any]:
        """Return the results that ``begin`` or ``finish`` recorded; empty when there is no record."""
        return self._read().get("results", {}) if self.path.exists() else {}

    def _differences(self) -> list[str]:
        return list(settings.differences(self._read().get("recipe", {}), self.recipe))

    def _read(self) -> dict[str, Any]:
        return read_json(self.path)

    def _write(self, *, done: bool, results: Mapping[str, object]) -> None:
        record = {"stage": self.stage, "done": done, "recipe": self.recipe, "results": results}
        write_json(self.path, {**record, "versions": provenance()})


def _names(difference: str, allowed: tuple[str, ...]) -> bool:
    """Say whether a line of `settings.differences` is about one of the settings, or of a section's."""
    name = difference.partition(": ")[0]
    return any(name == setting or name.startswith(setting + ".") for setting in allowed)
