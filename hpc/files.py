"""Write whole files only; read JSON; compute checksums."""

import contextlib
import errno
import hashlib
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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


def write_json(path: Path | str, tree: object) -> None:
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
