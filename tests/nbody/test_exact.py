from fractions import Fraction

import numpy as np
import pytest

from cosmogan.nbody.exact import ExactSum


def exact(values):
    return float(sum(map(Fraction, values.astype(float).tolist())))


@pytest.mark.parametrize("scale", [1.0, 1e-38, 3e38, 1e-45])
def test_the_sum_is_exact(scale):
    values = (np.random.default_rng(1).uniform(-1, 1, 3000) * scale).astype(np.float32)
    added = ExactSum()
    added.add(values)
    assert added.total(lambda x: x) == exact(values)


def test_order_and_parts_do_not_matter():
    values = np.random.default_rng(2).lognormal(0, 10, 10_000).astype(np.float32)
    totals = set()
    for parts in (1, 2, 7):
        sums = [ExactSum() for _ in range(parts)]
        for one, part in zip(
            sums, np.array_split(np.random.default_rng(parts).permutation(values), parts), strict=True
        ):
            one.add(part)
        totals.add(sums[0].total(lambda _, sums=sums: sum(one._sums for one in sums)))
    assert totals == {exact(values)}
