"""Transfer functions: tables come back, are continued in shape, and CLASS agrees with CAMB."""

from functools import partial

import numpy as np
import pytest

from cosmogan.nbody import cosmology, transfer

UNIVERSE = {"omega_m": 0.29, "omega_b": 0.047, "h": 0.69, "n_s": 0.96}
FIT = partial(cosmology.transfer, omega_m=0.29, omega_b=0.047, h=0.69)


def write(path, *columns):
    np.savetxt(path, np.stack(columns, axis=1))
    return str(path)


def test_a_table_is_followed_inside_and_continued_as_the_fit_outside(tmp_path):
    k = np.geomspace(1e-3, 1, 200)
    found = transfer.transfer(write(tmp_path / "t.txt", k, 7 * FIT(k)), **UNIVERSE)
    wanted = np.geomspace(1e-5, 50, 333)
    np.testing.assert_allclose(found(wanted), 7 * FIT(wanted), rtol=1e-3)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([np.arange(1.0, 9)], r"found an array of shape \(8, 1\)"),
        ([np.arange(9.0, 1, -1), np.ones(8)], "rising k"),
        ([np.arange(1.0, 9), -np.ones(8)], "positive numbers"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, columns, said):
    with pytest.raises(ValueError, match=rf"simulate\.transfer: .*t\.txt: .*{said}"):
        transfer.read_table(write(tmp_path / "t.txt", *columns) and tmp_path / "t.txt")


def test_a_table_that_is_not_there_or_no_text_is_refused(tmp_path):
    (tmp_path / "words.txt").write_text("one two\n")
    for name in ("none.txt", "words.txt"):
        with pytest.raises(ValueError, match=rf"{name}: cannot be read: "):
            transfer.transfer(str(tmp_path / name), **UNIVERSE)


def test_class_agrees_with_camb(data):
    pytest.importorskip("nbodykit", reason="nbodykit is not installed: make reference")
    k, camb = np.loadtxt(data / "pk_linear_z0_sigma8_0.82.txt", unpack=True)
    found = cosmology.linear_power(k, transfer.transfer("class", **UNIVERSE), n_s=0.96, sigma_8=0.82)
    assert abs(found / camb - 1)[k < 9.9].max() < 0.01
