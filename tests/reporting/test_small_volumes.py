"""The report of volumes that cannot show all: what they do not have is left out, and the rest is shown."""

import argparse

import numpy as np
import pytest

from cosmogan import validate
from cosmogan.reporting import criteria
from cosmogan.shards import statistics_file
from hpc import mpi


def volumes(seed, cells, n=8):
    made = np.random.default_rng(seed).lognormal(0, 1, (n, cells, cells, cells)).astype("f4")
    return made / made.mean()


@pytest.mark.parametrize(
    ("cells", "settings", "left_out"),
    [
        (2, [], {"power", "variance", "cross_power", "bispectrum"}),  # one bin, beyond Nyquist
        (4, ["validate.n_k=2"], {"bispectrum"}),  # no triangle
    ],
)
def test_the_report_leaves_out_what_small_volumes_do_not_have(tmp_path, cells, settings, left_out):
    for seed, name in enumerate(("samples", "reference")):
        np.save(tmp_path / f"{name}.npy", volumes(seed, cells))
    words = [f"--{name}={tmp_path / name}.npy" for name in ("samples", "reference")]
    words += ["--box-size=16", f"--output={tmp_path / 'out'}", *settings]
    validate.compare_own(parsed(words), mpi.SerialComm())
    found = {row.name for row in criteria.rows(statistics_file.read(tmp_path / "out" / "statistics.h5"))}
    everything = {"power", "power_all", "variance", "cross_power", "mean_density", "voxel_pdf", "bispectrum", "peaks"}
    everything |= {"minkowski", "copies", "repeats", "diversity"}
    assert found == everything - left_out
    assert "Left out: " in (tmp_path / "out" / "report" / "index.html").read_text()


def parsed(words) -> argparse.Namespace:
    return validate.parser("cosmogan validate").parse_intermixed_args(words)
