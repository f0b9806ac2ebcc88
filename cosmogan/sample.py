"""Draw subvolumes from the released generator into sharded HDF5: (seed, index) → one volume."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cosmogan import cli
from cosmogan.config import GENERATORS, SMALLEST_GENERATOR, Experiment, configs_folder
from cosmogan.reporting.summary import summarise
from cosmogan.sampling.plan import SamplingStage
from hpc import mpi
from hpc.part import Part
from hpc.stage import execute

TEXT = """\
Draw subvolumes from the released generator. Number i of a seed is the same volume on any number of ranks and in any
batch; shards that are whole are kept, so the same command resumes after an interruption."""
EXAMPLE = "mpirun -n 4 python -m cosmogan.sample experiment.yaml sample.n_samples=2000"

stage = SamplingStage


def sample(experiment: Experiment, comm: mpi.Comm, part: Part | None = None) -> None:
    """Write all samples that are not there yet, or a part's shards, and draw the figure that is asked for."""
    plan, figure = stage(experiment), experiment.sample.figure
    execute(plan, comm, part)
    if figure is not None and part is None and comm.rank == 0:
        summarise(plan.target, Path(figure))


class _Pretrained(argparse.Action):
    """Draw from a generator in the package, by the settings that it was made with."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        name: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        namespace.without_config = configs_folder() / f"{name}.yaml"
        setattr(namespace, "sample.generator", name)


def with_names(words: list[str]) -> list[str]:
    """Return a command line whose ``--pretrained`` has its generator's name in the same word.

    Without one it is the smallest; what follows the option otherwise is CONFIG or an override.
    """
    named: list[str] = []
    for word in words:
        if named and named[-1] == "--pretrained" and word in GENERATORS:
            named[-1] += f"={word}"
        else:
            named.append(word)
    return [f"--pretrained={SMALLEST_GENERATOR}" if word == "--pretrained" else word for word in named]


def parser(prog: str) -> argparse.ArgumentParser:
    """Make the command line's parser, for a command that is called so."""
    reader = cli.parser(prog, TEXT, EXAMPLE)
    cli.part_option(reader)
    what = (
        f"draw from a generator in the package: {', '.join(GENERATORS)}; default {SMALLEST_GENERATOR}; needs no CONFIG"
    )
    reader.add_argument("--pretrained", action=_Pretrained, choices=GENERATORS, metavar="NAME", help=what)
    reader.add_argument("-n", dest="sample.n_samples", type=int, metavar="N", help="how many")
    what = "draw slabs and the voxel PDF of them: .png or .pdf"
    reader.add_argument("--figure", dest="sample.figure", metavar="FILE", help=what)
    what = "write only the latents, to <output>/latents.h5"
    reader.add_argument("--latents", dest="sample.latents_only", action="store_true", help=what)
    what = "of the volumes, for a generator conditioned on it; any other condition as sample.condition.omega_m=0.3"
    reader.add_argument("--redshift", dest="sample.condition.redshift", type=float, metavar="Z", help=what)
    what = "draw the volumes of such a file, with the generator that it belongs to"
    reader.add_argument("--from-latents", dest="sample.from_latents", metavar="FILE", help=what)
    return reader


def main(prog: str) -> None:
    """Run the command line."""
    sys.argv[1:] = with_names(sys.argv[1:])
    cli.main(parser(prog), sample, partial(mpi.world, "sample.batch_size"))


if __name__ == "__main__":
    main("python -m cosmogan.sample")
