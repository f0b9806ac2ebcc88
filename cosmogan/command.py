"""What all commands have in common: CONFIG and overrides, one line for an error, an end for all ranks."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from cosmogan import config
from hpc import mpi
from hpc.log import say


def main(
    module: str,
    text: str,
    example: str,
    work: Callable[[config.Experiment, Any], None],
    world: Callable[[], Any] = mpi.world,
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """Read the config and do a command's work on every rank of its world.

    Parameters
    ----------
    module : the command's module, as ``cosmogan.preprocess``
    text, example : what ``--help`` says
    work : called with the experiment and the world
    world : makes the world: an object with ``rank`` and ``size``
    options : adds options to the parser; one whose ``dest`` is the name of a setting overrides it
    """
    made = parser(module, text, example)
    options(made)
    arguments = made.parse_intermixed_args()
    with mpi.abort_on_error(mpi.SerialComm()):
        comm = world()
    with mpi.abort_on_error(comm):
        work(read_experiment(arguments, comm.rank), comm)


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
    options = {name: value for name, value in vars(arguments).items() if value is not None and value is not False}
    overrides += [f"{name}={json.dumps(value)}" for name, value in options.items() if "." in name]
    if path is None:
        path = config.default_config()
        say(f"no CONFIG given: using {path}", rank)
    return config.load(path, overrides)
