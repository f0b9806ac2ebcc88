"""Sum float32 numbers exactly: the result depends neither on their order nor on the number of ranks."""

from collections.abc import Callable

import numpy as np

_MANTISSA = 24  # bits
_LOWEST = -148  # the exponent that np.frexp gives the smallest float32
_N_EXPONENTS = 277  # up to that of the largest


class ExactSum:
    """Adds float32 numbers without rounding: whole mantissas, a sum for each exponent. Good for 2³⁹ numbers."""

    def __init__(self) -> None:
        self._sums = np.zeros(_N_EXPONENTS, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Add (n,) finite float32 numbers."""
        for start in range(0, len(values), 1 << 20):  # float64 holds sums of this many mantissas exactly
            mantissa, exponent = np.frexp(values[start : start + (1 << 20)])
            whole = np.ldexp(mantissa.astype(np.float64), _MANTISSA)
            self._sums += np.bincount(exponent - _LOWEST, whole, _N_EXPONENTS).astype(np.int64)

    def total(self, allreduce: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return the sum of what was added on all ranks, rounded once; ``allreduce`` adds arrays over ranks."""
        sums = allreduce(self._sums)
        scaled = sum(int(part) << place for place, part in enumerate(sums))
        return scaled / (1 << (_MANTISSA - _LOWEST))
