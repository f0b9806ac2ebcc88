"""Expand paths as people write them, with ``~`` and ``$VARIABLES``."""

import argparse
import os
import re
from typing import Annotated

_VARIABLE = re.compile(r"\$(\w+)|\$\{([^}]*)\}")

FilePath = Annotated[str, "path"]  # the type of a setting that names a file or folder: expanded where it is read


def expanded(path: str) -> str:
    """Return a path with its ``$VARIABLES`` and a leading ``~`` or ``~user`` filled in.

    Raises
    ------
    ValueError
        when a variable is not set or empty, or there is no such user: names it.
    """
    filled = os.path.expanduser(_VARIABLE.sub(lambda match: _value(path, match[1] or match[2]), path))
    if filled.startswith("~"):
        user = filled.partition("/")[0]
        raise ValueError(f"{path}: there is no user {user[1:]} here; a name that begins with ~ is written ./{user}")
    return filled


def argument(text: str) -> str:
    """Return a path of the command line, expanded: shells leave the ``~`` of ``--option=~/file`` alone."""
    try:
        return expanded(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _value(path: str, name: str) -> str:
    value = os.environ.get(name)
    if not value:
        state = "empty" if value == "" else "not set"
        raise ValueError(f"{path}: the environment variable {name or '${}'} is {state} here; set it, or write the path")
    return value
