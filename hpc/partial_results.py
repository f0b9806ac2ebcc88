"""Keep results by key, from which a stage of many independent parts resumes after it was stopped."""

import json
from pathlib import Path
from typing import Any

from hpc.part import Part, name


class PartialResults:
    """A JSON line for each result, in a file for every rank; a line that was cut off is ignored.

    Parameters
    ----------
    folder : where the files lie
    rank : this process writes to the file of its rank, and reads all
    part : the ranks that share the work, when others do at the same time
    """

    def __init__(self, folder: Path, rank: int, part: Part | None = None) -> None:
        self._folder, self._path = folder, folder / f"notes-{name(part)}{rank:04d}.jsonl"

    def read(self) -> dict[str, Any]:
        """Return all results by their keys."""
        results = {}
        for path in sorted(self._folder.glob("notes-*.jsonl")):
            for line in path.read_text(errors="replace").splitlines():
                try:
                    key, value = json.loads(line)
                except ValueError:
                    continue
                results[key] = value
        return results

    def add(self, key: str, value: object) -> None:
        """Write down one result."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a") as file:
            file.write(f"\n{json.dumps([key, value])}\n")  # begins a line even after one that was cut off
