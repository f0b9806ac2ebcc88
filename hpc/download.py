"""Download files, whole and checked."""

import http.client
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from hpc.files import checksum, whole_file

SILENCE = 30.0  # seconds after which a server is not waited for
_LOST = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


def cache_folder(program: str) -> Path:
    """Return the folder in which a program keeps what can be downloaded again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / program


def download(url: str, path: Path, sha256: str | None = None) -> None:
    """Download a file; one that is cut off or has another checksum is not kept.

    Parameters
    ----------
    url : of http or https
    path : where it goes
    sha256 : its checksum; None: not known

    Raises
    ------
    ValueError
        when it cannot be had, or is not what was expected: names the address.
    """
    with whole_file(path) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=SILENCE) as answer, open(temporary, "wb") as file:
                shutil.copyfileobj(answer, file)
                size = answer.headers["Content-Length"]
        except urllib.error.HTTPError as error:
            error.close()  # the connection, too
            raise ValueError(f"{url}: cannot be downloaded: {error}; see that the address is right") from None
        except _LOST as error:
            why = error.reason if type(error) is urllib.error.URLError else error
            raise ValueError(f"{url}: cannot be downloaded: {why}; download it elsewhere and give its path") from None
        found = temporary.stat().st_size
        if size is not None and int(size) != found:
            raise ValueError(f"{url}: cut off: expected {size} bytes, found {found}; try again")
        if sha256 is not None and checksum(temporary) != sha256:
            raise ValueError(f"{url}: expected the SHA-256 {sha256}, found {checksum(temporary)}: not the file meant")
