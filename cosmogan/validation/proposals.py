"""Measure P(k) of all samples that rejection sampling drew, accepted or not."""

from pathlib import Path

from cosmogan.config import Experiment
from cosmogan.gan import released
from cosmogan.shards.statistics_file import Tree
from cosmogan.statistics import ensemble, regions
from cosmogan.validation import measure
from cosmogan.validation.blocks import Blocks, Values
from cosmogan.validation.comparison import Comparison
from cosmogan.validation.volume_statistics import plan
from hpc import mpi
from hpc.distributed import Processes

MAX_SAMPLES = 4096  # that are drawn again


def everything(experiment: Experiment, compared: Comparison, folder: Path, comm: mpi.Comm) -> Tree:
    """Return the group ``proposals`` for the file of statistics, on rank 0; an empty tree elsewhere, or without any.

    It is P(k) of the seed's first samples, as many as were accepted, summarised as of any other set.

    Parameters
    ----------
    experiment, compared : whose samples are compared
    folder : keeps what is measured until all is
    comm : its ranks share the work
    """
    if not (experiment.sample.rejection and experiment.drawn_from.exists()):
        return {}
    device = Processes(comm.rank, comm.size, comm.rank).device(compared.settings.device)
    generator, measurement = released.load(experiment.drawn_from, device), plan(compared, device)

    def drawn(part: slice) -> Values:
        density = generator.draw(experiment.sample.seed, part.start, part.stop - part.start)
        return measurement.spectra(density, ())

    blocks = Blocks(folder, measure.key(compared), compared.settings.batch_size, comm)
    blocks.measure("proposals", min(len(compared.generated), MAX_SAMPLES), lambda part: part, drawn)
    if comm.rank > 0:
        return {}
    samples = blocks.read("proposals")["power"]
    return {"proposals": ensemble.summary(samples, ensemble.moments_of(samples, regions.of_one_kind(len(samples))))}
