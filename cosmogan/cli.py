"""Read a command's CONFIG and overrides, report an error in one line, and end all ranks together."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from cosmogan import config
from hpc import mpi
from hpc.log import say
from hpc.part import Part


def main(
    reader: argparse.ArgumentParser, work: Callable[..., None], world: Callable[[], mpi.World] = mpi.world
) -> None:
    """Read the config and do a command's work on every rank of its world.

    Parameters
    ----------
    reader : of the command line, by `parser`; an option whose ``dest`` is the name of a setting overrides it
    work : called with the experiment and the world, and with the part or None if the command has `part_option`
    world : makes the processes that work together
    """
    arguments = reader.parse_intermixed_args()
    with mpi.abort_on_error(mpi.SerialComm()):
        comm = world()
    with mpi.abort_on_error(comm):
        words = vars(arguments).get("part")
        part = None if words is None else Part.parse(words)
        work(read_experiment(arguments, comm.rank), comm, *([part] if "part" in arguments else []))


def parser(prog: str, text: str, example: str) -> argparse.ArgumentParser:
    """Make a command's parser: CONFIG and overrides are the same for all.

    Parameters
    ----------
    prog : how the user calls the command: ``python -m cosmogan.preprocess`` or ``cosmogan preprocess``
    text, example : what ``--help`` says
    """
    reader = argparse.ArgumentParser(
        prog=prog,
        description=text,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reader.add_argument(
        "config", nargs="?", metavar="CONFIG", help="YAML file; default: cosmogan.yaml here, else the demo experiment"
    )
    reader.set_defaults(without_config=None)  # what an option takes in place of the default
    reader.add_argument("overrides", nargs="*", metavar="section.key=value", help="override any setting of CONFIG")
    return reader


def part_option(parser: argparse.ArgumentParser) -> None:
    """Give a command that can do a part of its work the option for it."""
    what = "for a job array: do every N-th item of the work from number I on, and no more; run without it afterwards"
    parser.add_argument("--part", metavar="I/N", help=what)


def read_experiment(arguments: argparse.Namespace, rank: int = 0) -> config.Experiment:
    """Load the experiment that a parsed command line names.

    Raises
    ------
    SettingsError
        when the file or a setting is wrong.
    """
    options = {name: value for name, value in vars(arguments).items() if value is not None and value is not False}
    settings = [f"{name}={json.dumps(value)}" for name, value in options.items() if "." in name]
    given = [] if arguments.config is None else [arguments.config]
    return load([*given, *arguments.overrides, *settings], rank, arguments.without_config)


def load(arguments: list[str], rank: int = 0, default: Path | None = None) -> config.Experiment:
    """Load the experiment of CONFIG and overrides as they stand on a command line; without CONFIG the default one.

    Raises
    ------
    SettingsError
        when the file or a setting is wrong.
    """
    if arguments and ("=" not in arguments[0] or Path(arguments[0]).is_file()):  # a folder's name may have one
        return config.load(arguments[0], arguments[1:])
    path = default or config.default_config()
    say(f"no CONFIG given: using {path}", rank)
    return config.load(path, arguments)
