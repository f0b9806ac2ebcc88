"""A run's folder and its record: whole files only, which stage is done with what, and what made it."""

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from hpc import settings

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HOST = socket.gethostname()
_PART = re.compile(r"[.].+[.]([0-9]{1,9})[.]part")  # what `whole_file` writes to: the name, the host and the process


@contextlib.contextmanager
def whole_file(path: Path | str, meanwhile: Callable[[Path], None] = lambda written: None) -> Iterator[Path]:
    """Give a temporary name to write to, and rename it to ``path`` when all went well.

    A file with the final name is therefore always whole; a failed one leaves nothing behind. ``meanwhile`` is called
    with the temporary name while what was written goes to disk.

    Raises
    ------
    OSError
        when the disk or a quota is full: names ``path``, the reason, and what to do.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.part")
    try:
        yield temporary
        with open(temporary, "rb+") as file, ThreadPoolExecutor(1) as pool:
            flushed = pool.submit(os.fsync, file.fileno())
            meanwhile(temporary)
            flushed.result()
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise no_room(error, path, "while writing it") from None
    finally:
        temporary.unlink(missing_ok=True)


def no_room(error: OSError, path: Path, doing: str) -> OSError:
    """Return the error of a write for which there was no room, with the system's reason and what to do about it."""
    cure = "raise the limit of a file's size (ulimit -f)" if error.errno == errno.EFBIG else "free space"
    reason = os.strerror(error.errno or errno.ENOSPC)
    advice = f"{cure} and run the same command again: what is complete is kept"
    return OSError(error.errno, f"{reason} {doing}; {advice}", str(path))


def remove_leftovers(folder: Path | str) -> list[str]:
    """Delete the temporary files that killed runs left in a folder, and return their names.

    What a living process of this host writes stays. Another host's processes are not seen: call it before any of them
    begins, and not where others work in the same folder.
    """
    removed = []
    for path in sorted(Path(folder).glob(".*.part")):
        match = _PART.fullmatch(path.name)
        ours = match and path.name.endswith(f".{HOST}.{match[1]}.part")
        if match and not (ours and _is_alive(int(match[1]))):
            path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed


def _is_alive(process: int) -> bool:
    """Say whether a process of this host, anyone's, is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # not ours to signal, so it is there
        return True
    return True


def write_json(path: Path | str, tree: Any) -> None:
    """Write plain data as indented JSON, atomically."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(tree, indent=1) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises
    ------
    ValueError
        when it is not JSON; the message names the file.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path}: damaged: not valid JSON; delete it and run the stage that writes it again") from None


def checksum(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@cache
def provenance() -> dict[str, str]:
    """Return the versions of all that computes here and the git revision, where there is one."""
    names = ("cosmogan", "torch", "numpy", "h5py", "numba", "mpi4py")
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

    def __init__(self, folder: Path | str, stage: str, recipe: dict[str, Any]) -> None:
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

    def begin(self, *, keep: bool, allowed: tuple[str, ...] = (), **results: Any) -> None:
        """Record what the stage is about to do.

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

    def finish(self, **results: Any) -> None:
        """Record that the stage is done, and what is worth saying of it."""
        self._write(done=True, results=results)

    def results(self) -> dict[str, Any]:
        """Return what ``begin`` or ``finish`` recorded; nothing when there is no record."""
        return self._read().get("results", {}) if self.path.exists() else {}

    def _differences(self) -> list[str]:
        return list(settings.differences(self._read().get("recipe", {}), self.recipe))

    def _read(self) -> dict[str, Any]:
        return read_json(self.path)

    def _write(self, *, done: bool, results: dict[str, Any]) -> None:
        record = {"stage": self.stage, "done": done, "recipe": self.recipe, "results": results}
        write_json(self.path, {**record, "versions": provenance()})


def _names(difference: str, allowed: tuple[str, ...]) -> bool:
    """Say whether a line of `settings.differences` is about one of the settings, or of a section's."""
    name = difference.partition(": ")[0]
    return any(name == one or name.startswith(one + ".") for one in allowed)
