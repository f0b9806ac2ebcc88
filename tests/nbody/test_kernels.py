import _ctypes
from pathlib import Path

import numpy as np
import pytest

from cosmogan.nbody import kernels


def test_a_library_that_was_not_built_is_one_line_that_says_how_to_build_it(tmp_path):
    advice = r"; it is compiled when cosmogan is installed: run `make install` or `pip install -e \.` again"
    with pytest.raises(ValueError, match=r"_kernels\.so: not found" + advice):
        kernels.load(tmp_path / "_kernels.so")
    (tmp_path / "other.so").write_bytes(b"of another machine")
    with pytest.raises(ValueError, match=r"other\.so: .*" + advice):
        kernels.load(tmp_path / "other.so")
    with pytest.raises(ValueError, match=r": undefined symbol: cosmogan_paint" + advice):
        kernels.load(Path(_ctypes.__file__))  # as one that was built before the kernels changed


@pytest.mark.parametrize("slots", [np.zeros(1, np.int64), np.zeros(4, np.int32)[::2]])
def test_arrays_that_the_kernels_cannot_take_are_refused(slots):
    sums = kernels.Sums(np.zeros((1, 4, 4, 4), np.uint32), 1.0)
    with pytest.raises(AssertionError):
        kernels.paint((np.zeros((1, 3)), None), kernels.Mesh(1.0, 4, 4, 2), slots, sums)
