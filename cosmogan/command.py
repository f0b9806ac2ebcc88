"""What all commands have in common: CONFIG and overrides, one line for an error, an end for all ranks."""

import argparse
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from cosmogan import config
from hpc import mpi
from hpc.log import say


def main(
    module: str,
    text: str,
    example: str,
    work: Callable[..., None],
    world: Callable[[], Any] = mpi.world,
    flags: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Read the config and do a command's work on every rank of its world.

    Parameters
    ----------
    module : the command's module, as ``cosmogan.preprocess``
    text, example : what ``--help`` says
    work : called with the experiment and the world, and each flag by name
    world : makes the world: an object with ``rank`` and ``size``
    flags : options that are on or off, as ``--name``, and what ``--help`` says of them
    """
    reader = parser(module, text, example)
    for name, meaning in flags.items():
        reader.add_argument(f"--{name}", action="store_true", help=meaning)
    arguments = reader.parse_intermixed_args()
    chosen = {name: getattr(arguments, name) for name in flags}
    with mpi.abort_on_error(mpi.SerialComm()):
        comm = world()
    with mpi.abort_on_error(comm):
        work(read_experiment(arguments, comm.rank), comm, **chosen)


def parser(module: str, text: str, example: str) -> argparse.ArgumentParser:
    """Make a command's parser: CONFIG and overrides are the same for all."""
    made = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=text,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "config", nargs="?", metavar="CONFIG", help="YAML file; default: cosmogan.yaml here, else the demo experiment"
    )
    made.add_argument("overrides", nargs="*", metavar="section.key=value", help="override any setting of CONFIG")
    return made


def read_experiment(arguments: argparse.Namespace, rank: int = 0) -> config.Experiment:
    """Load the experiment that the command line names; a first word with ``=`` in it is an override.

    Raises
    ------
    SettingsError
        when the file or a setting is wrong.
    """
    path, overrides = arguments.config, list(arguments.overrides)
    if path is not None and "=" in path:
        path, overrides = None, [path, *overrides]
    if path is None:
        path = config.default_config()
        say(f"no CONFIG given: using {path}", rank)
    return config.load(path, overrides)
