"""Verify folders of shards, or show what is in one: ``python -m cosmogan.shards``."""

import argparse
import os
import signal
import sys
from pathlib import Path

from cosmogan.reporting.summary import summarise
from cosmogan.shards.verify import verify
from hpc import mpi, paths

TEXT = "Look at folders of sharded subvolumes, simulated or generated; nothing in them is changed."
VERIFY = """\
Compare every shard with the manifest: it is there, opens, and has the rows, types, chunks, attributes and SHA-256 that
stand there. A matching checksum means that every number is the one that was written, so values are not read.
One line for each damaged shard says what to do. Exit status 1 when anything is damaged or missing, else 0."""
SHOW = """\
Print what a folder holds: geometry, redshifts, simulations, sources, and mean, scatter and extrema of its densities,
from one pass over them that needs little memory."""


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    raw = argparse.RawDescriptionHelpFormatter
    command_line = argparse.ArgumentParser(prog=prog, description=TEXT, formatter_class=raw)
    commands = command_line.add_subparsers(dest="command", required=True, metavar="verify|show")
    example = "example:\n  python -m cosmogan.shards verify runs/demo/shards runs/demo/samples"
    verify = commands.add_parser("verify", help="is it whole?", description=VERIFY, epilog=example, formatter_class=raw)
    verify.add_argument("folders", nargs="+", type=_path, metavar="FOLDER", help="of shards, with its manifest.json")
    example = "example:\n  python -m cosmogan.shards show runs/demo/shards --figure shards.png"
    show = commands.add_parser("show", help="what is in it?", description=SHOW, epilog=example, formatter_class=raw)
    show.add_argument("folder", type=_path, metavar="FOLDER", help="of shards, with its manifest.json")
    show.add_argument("--figure", type=_figure, metavar="FILE", help="draw slabs and the voxel PDF: .png or .pdf")
    return command_line


def _path(text: str) -> Path:
    return Path(paths.argument(text))


def _figure(text: str) -> Path:
    path = _path(text)
    if path.suffix not in (".png", ".pdf"):
        raise argparse.ArgumentTypeError(f"expected a name that ends in .png or .pdf, found {text}")
    return path


def main(prog: str) -> None:
    """Run the command line; when the reader of its lines ends, as ``head`` does, so does the command."""
    arguments = parser(prog).parse_args()
    with mpi.abort_on_error(mpi.SerialComm()):
        try:
            raise SystemExit(0 if _run(arguments) else 1)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes at its end
            raise SystemExit(128 + signal.SIGPIPE) from None  # as a shell names that end


def _run(arguments: argparse.Namespace) -> bool:
    """Verify or show folders; say whether all are whole."""
    if arguments.command == "verify":
        return all([verify(folder) for folder in arguments.folders])
    summarise(arguments.folder, arguments.figure)
    return True


if __name__ == "__main__":
    main("python -m cosmogan.shards")
