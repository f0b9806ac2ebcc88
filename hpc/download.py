"""Download files, whole and checked."""

import http.client
import os
import ssl
import urllib.error
import urllib.request
from http.client import HTTPMessage
from pathlib import Path
from typing import IO

from hpc.files import checksum, whole_file

BLOCK = 1 << 20  # bytes that are read at a time
SILENCE = 30.0  # seconds after which a server is not waited for
_LOST = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
    UnicodeError,  # of an address with letters that none can have
)


def cache_folder(program: str) -> Path:
    """Return the folder in which a program keeps what can be downloaded again.

    Raises
    ------
    ValueError
        when the user has no home folder, and the environment names no other.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(given) if given else Path.home() / ".cache") / program
    except RuntimeError:
        raise ValueError("XDG_CACHE_HOME: not set, and no home folder is known; set it to a folder") from None


class StaysSecure(urllib.request.HTTPRedirectHandler):
    """Follow a redirection, but none from https to an address that anyone between could change."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next request; an error when it would be less secure than this one."""
        if req.type == "https" and not newurl.lower().startswith("https:"):
            why = f"redirected to {newurl}, which is not https"
            raise urllib.error.HTTPError(req.full_url, code, why, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, path: Path, max_bytes: int, sha256: str | None = None) -> None:
    """Download a file; one that is too large, is cut off or has another checksum is not kept.

    Parameters
    ----------
    url : of http or https
    path : where it goes
    max_bytes : no more than these are downloaded
    sha256 : its checksum; None: not known

    Raises
    ------
    ValueError
        when it cannot be had, or is not what was expected: names the address.
    """
    with whole_file(path) as temporary:
        try:
            opener = urllib.request.build_opener(StaysSecure)
            with opener.open(url, timeout=SILENCE) as answer, open(temporary, "wb") as file:
                stated = answer.length  # None: the server does not say it
                size = stated if (stated or 0) > max_bytes else _copy(answer, file, max_bytes)
        except urllib.error.HTTPError as error:
            error.close()  # the connection, too
            raise ValueError(f"{url}: cannot be downloaded: {error}; see that the address is right") from None
        except _LOST as error:
            why = error.reason if type(error) is urllib.error.URLError else error
            raise ValueError(f"{url}: cannot be downloaded: {why}; download it elsewhere and give its path") from None
        if size > max_bytes:
            wrong = f"{url}: expected at most {max_bytes} bytes, found {size} or more"
            raise ValueError(f"{wrong}; see that the address is right, or download it elsewhere and give its path")
        if stated not in (None, size):
            raise ValueError(f"{url}: cut off: expected {stated} bytes, found {size}; try again")
        if sha256 is not None and checksum(temporary) != sha256:
            raise ValueError(f"{url}: expected the SHA-256 {sha256}, found {checksum(temporary)}: not the file meant")


def _copy(source: IO[bytes], target: IO[bytes], max_bytes: int) -> int:
    """Copy a file until it ends or has more than some bytes; return how many were copied."""
    size = 0
    while size <= max_bytes and (block := source.read(BLOCK)):
        size += target.write(block)
    return size
