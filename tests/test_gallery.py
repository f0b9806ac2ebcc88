"""A gallery of generators that are wrong in a known way: each is called wrong by the statistic that should see it.

The real volumes are lognormal boxes; what is wrong is done to other boxes of the same kind, which themselves pass.
"""

import numpy as np
import pytest
import synthetic
from scipy import ndimage

from cosmogan.config import Validate
from cosmogan.reporting import criteria
from cosmogan.validation import measure
from cosmogan.validation.array_file import ArrayFile
from cosmogan.validation.comparison import Comparison, Volumes, independent
from hpc.mpi import SerialComm

N_BOXES, AMPLITUDE = 4, 0.5
CUBE = (1, 2, 3)


def boxes(first):
    """Subvolumes of four boxes, 27 each."""
    numbers = range(first, first + N_BOXES)
    return np.concatenate([synthetic.cut(synthetic.lognormal_box(i, AMPLITUDE)) for i in numbers]).astype(np.float32)


def shuffled(volumes, rng):
    """The right voxel PDF and mean, and no structure."""
    return rng.permuted(volumes.reshape(len(volumes), -1), axis=1).reshape(volumes.shape)


def smoothed(volumes, rng):
    """The right large scales, and blurred small ones."""
    return ndimage.gaussian_filter(volumes, (0, 1, 1, 1), mode="wrap")


def collapsed(volumes, rng):
    """Twenty good volumes, again and again."""
    return volumes[np.arange(len(volumes)) % 20]


def gaussian(volumes, rng):
    """Every volume with just its own power spectrum, and random phases."""
    white = np.fft.rfftn(rng.standard_normal(volumes.shape), axes=CUBE)
    modes = np.abs(np.fft.rfftn(volumes, axes=CUBE)) * white / abs(white)
    modes[:, 0, 0, 0] = volumes.sum(axis=CUBE)
    return np.maximum(np.fft.irfftn(modes, s=volumes.shape[1:], axes=CUBE), 0)


def memorised(volumes, rng):
    """Training volumes, turned over."""
    return boxes(0)[:, ::-1].swapaxes(1, 3)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """CandidateScorer what a function makes of good volumes; each is judged once."""
    folder, known = tmp_path_factory.mktemp("gallery"), {}

    def saved(name, volumes):
        np.save(folder / f"{name}.npy", volumes)
        return ArrayFile(str(folder / f"{name}.npy"), synthetic.SUBVOLUME * synthetic.CELL)

    real = saved("real", boxes(0))
    reference = Volumes(real, np.arange(len(real)), np.repeat(np.arange(N_BOXES), len(real) // N_BOXES))

    def judge(make):
        if make.__name__ not in known:
            made = make(boxes(100), np.random.default_rng(0)).astype(np.float32)
            generated = independent(saved(make.__name__, made))
            comparison = Comparison("gallery", reference, generated, None, Validate(batch_size=32), 4.0, 0.7)
            tree = measure.everything(comparison, folder / f"blocks-{make.__name__}", SerialComm())
            known[make.__name__] = {row.name: row for row in criteria.rows(tree)}
        return known[make.__name__]

    return judge


def good(volumes, rng):
    return volumes


ALL = {"power", "variance", "cross_power", "mean_density", "voxel_pdf", "bispectrum", "peaks", "repeats", "diversity"}


def seen_wrong(rows):
    """Names of the criteria that are not met, and by more than the noise of the real volumes can be."""
    return {name for name, row in rows.items() if not row.passed and not row.distance.value <= 2 * row.distance.floor}


def test_good_volumes_are_called_good(judged):
    assert not seen_wrong(judged(good)) & {*ALL, "copies"}


@pytest.mark.parametrize(
    ("make", "wrong", "right"),
    [
        (shuffled, {"power", "bispectrum", "peaks"}, {"voxel_pdf", "mean_density", "copies", "repeats"}),
        (smoothed, {"power", "peaks", "voxel_pdf"}, {"mean_density", "copies", "repeats"}),
        (collapsed, {"repeats", "diversity", "cross_power"}, {"power", "copies"}),
        (gaussian, {"bispectrum", "voxel_pdf", "peaks"}, {"power", "mean_density", "copies", "repeats"}),
        (memorised, {"copies"}, {"power", "voxel_pdf", "bispectrum", "peaks", "repeats", "diversity"}),
    ],
)
def test_a_known_failure_is_seen_by_the_statistic_that_should_see_it(judged, make, wrong, right):
    found = seen_wrong(judged(make))
    assert wrong <= found, {name: judged(make)[name].distance for name in wrong - found}
    assert not right & found, {name: judged(make)[name].distance for name in right & found}
