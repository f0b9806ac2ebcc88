"""Start any command by one name: ``cosmogan train CONFIG`` is ``python -m cosmogan.train CONFIG``."""

import difflib
import importlib
import sys
from argparse import ArgumentParser, _SubParsersAction

import shtab

from cosmogan import __version__

HEAD = """\
usage: cosmogan COMMAND [CONFIG] [section.key=value ...] [options]

From GADGET-2 snapshots to a validated generator of the cosmic web. CONFIG is a YAML file, one for all commands;
without one it is cosmogan.yaml in the working folder, but for launch, status and cancel. Every command resumes what
was interrupted.
"""
# By purpose: each command's name and what it does.
PAGE = {
    "make data": {
        "simulate": "boxes of dark matter, by 2LPT and a particle-mesh code",
        "preprocess": "snapshots to density subvolumes in shards; with mpirun on many ranks",
        "shards": "show what a folder of shards holds, or verify it",
    },
    "train a generator": {
        "train": "the generator and the discriminator; one process per GPU",
        "select": "score every epoch's generator, calibrate the best one, release it",
    },
    "use a generator": {
        "sample": "draw volumes; --pretrained takes one that comes with the package",
        "box": "draw a box of any size from a local generator; with mpirun on many ranks",
        "publish": "write what Hugging Face and Zenodo take: weights, report, model card",
    },
    "judge it": {
        "validate": "measure generated volumes, or anyone's, against held-out simulations",
        "report": "one page: which claims of the paper are met, and the figures",
    },
    "run all of these": {
        "run": "one after the other on this machine",
        "launch": "as dependent jobs of a cluster",
        "status": "how far these jobs are",
        "cancel": "end them",
    },
}
TAIL = """
options:
  cosmogan COMMAND --help          describe a command
  cosmogan --version               print the version
  cosmogan --print-completion bash print the completion of command lines, for bash or zsh

example:
  cosmogan sample --pretrained -n 8 --figure web.png"""
COMMANDS = [name for group in PAGE.values() for name in group]
OF_LAUNCH = ("status", "cancel")  # words that `launch` takes first
MODULES = {name: f"cosmogan.{name}" for name in COMMANDS}
MODULES |= {"shards": "cosmogan.shards.__main__", **dict.fromkeys(("launch", *OF_LAUNCH), "hpc.launch")}
SHELLS = ("bash", "zsh")
FILES = ("CONFIG", "FILE", "FOLDER", "DIR", "RUN")  # what stands in a command's help for the name of a file


def main() -> None:
    """Run the command line.

    Raises
    ------
    SystemExit
        with status 2 when it names no command, and else when and as the command does.
    """
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(page())
    elif name == "--version":
        print(f"cosmogan {__version__}")
    elif name == "--print-completion":
        print(completion(rest))
    elif name in OF_LAUNCH:
        _start("launch", [name, *rest])
    elif name in COMMANDS:
        _start(name, rest)
    else:
        _refuse(f"{name}: not a command{_nearest(name)} (cosmogan --help lists all)")


def page() -> str:
    """Return what ``cosmogan --help`` says."""
    groups = [
        "\n".join(["", f"{purpose}:", *(f"  {name:<12}{what}" for name, what in commands.items())])
        for purpose, commands in PAGE.items()
    ]
    return "\n".join([HEAD.rstrip(), *groups, TAIL])


def _start(name: str, arguments: list[str]) -> None:
    """Run a command, whose module is imported now, in this process."""
    sys.argv[1:] = arguments
    importlib.import_module(MODULES[name]).main(f"cosmogan {name}")


def _nearest(word: str) -> str:
    near = difflib.get_close_matches(word, COMMANDS, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _refuse(line: str) -> None:
    print(f"cosmogan: {line}", file=sys.stderr)
    raise SystemExit(2)


def completion(shells: list[str]) -> str:
    """Return the script that completes command lines in a shell.

    Parameters
    ----------
    shells : the words after ``--print-completion``: one of `SHELLS`
    """
    if len(shells) != 1 or shells[0] not in SHELLS:
        _refuse(f"--print-completion: expected {' or '.join(SHELLS)}, found {' '.join(shells) or 'nothing'}")
    reader = ArgumentParser(prog="cosmogan")
    commands = reader.add_subparsers(dest="command")
    for name, what in (pair for group in PAGE.values() for pair in group.items()):
        command = importlib.import_module(MODULES[name]).parser(f"cosmogan {name}")
        commands.add_parser(name, help=what, parents=[command], add_help=False)
    _offer_files(reader, shtab.FILE)
    return str(shtab.complete(reader, shells[0]))


def _offer_files(reader: ArgumentParser, files: object) -> None:
    """Let file names be offered, in place, wherever a command's help says so."""
    for action in reader._actions:
        if isinstance(action, _SubParsersAction):
            for command in action.choices.values():
                _offer_files(command, files)
        elif action.metavar in FILES:
            action.complete = files  # type: ignore[attr-defined]  # where shtab looks


if __name__ == "__main__":
    main()
