import numpy as np
import pytest

from cosmogan.nbody import kernels


def test_a_library_that_was_not_built_says_how_to_build_it(tmp_path):
    with pytest.raises(ImportError, match=r"_kernels\.so: not found: .* run `pip install -e \.` again"):
        kernels._load(tmp_path / "_kernels.so")


@pytest.mark.parametrize("slots", [np.zeros(1, np.int64), np.zeros(4, np.int32)[::2]])
def test_arrays_that_the_kernels_cannot_take_are_refused(slots):
    sums = kernels.Sums(np.zeros((1, 4, 4, 4), np.uint32), 1.0)
    with pytest.raises(AssertionError):
        kernels.paint((np.zeros((1, 3)), None), kernels.Mesh(1.0, 4, 4, 2), slots, sums)
