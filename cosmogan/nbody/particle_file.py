"""Define a snapshot file of any format: a header, and particles sorted by type."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

N_TYPES = 6
_SAME_TIME = 1e-3  # of the scale factor: headers may have rounded numbers
_ROUNDING = 1e-6  # of a redshift
_TINY = 1e-30  # of a box's length, in any unit: swapped or damaged bytes give less


@dataclass(frozen=True)
class Header:
    """The numbers in one file's header."""

    n_part: tuple[int, ...]  # particles of each type in this file
    mass_table: tuple[float, ...]  # [1e10 Msun/h]; 0 where the MASS block has them
    redshift: float
    box_size: float  # in the file's length unit
    omega_m: float
    omega_lambda: float
    h: float
    n_total: tuple[int, ...]  # particles of each type in all files; old writers leave zeros
    n_files: int
    length: float | None = None  # the unit of lengths [Mpc/h], where the file says it
    mass_unit: float = 1.0  # of the masses beside the mass table [1e10 Msun/h]
    remarks: tuple[str, ...] = ()  # contradictions, and parts of the file that are left out

    def check(self, path: Path) -> None:
        """Raise ValueError when no box can have these numbers."""
        if self.box_size != 0 and not _TINY < self.box_size < 1 / _TINY:  # 0: a setting may supply it
            raise ValueError(f"{path}: the header's BoxSize is {self.box_size:g}; expected a positive length")
        if not math.isfinite(self.redshift):
            raise ValueError(f"{path}: the header's redshift is {self.redshift:g}; expected a number")
        if self.redshift <= -1:
            raise ValueError(f"{path}: the header's redshift is {self.redshift:g}; expected one above -1")
        for kind, (n, mass) in enumerate(zip(self.n_part, self.mass_table, strict=True)):
            if n > 0 and not 0 <= mass < math.inf:
                raise ValueError(
                    f"{path}: the header's mass of type {kind} is {mass:g}; expected a finite number, not below 0"
                )


def of_time(time: float, redshift: float) -> tuple[str, ...]:
    """Return a remark where a header's Time is not the scale factor of its Redshift."""
    if abs(time * (1 + redshift) - 1) <= _SAME_TIME:
        return ()
    return (f"Time {time:g} and Redshift {redshift:g} disagree, a = 1/(1 + z) does not hold; Redshift is taken",)


def rounded(redshift: float) -> float:
    """Return a redshift; 0 where rounding made it less."""
    return 0.0 if -_ROUNDING < redshift < 0 else redshift


def types(particle_type: int | str) -> range:
    """Return the particle types that ``particle_type`` (0 to 5, or ``all``) stands for."""
    return range(N_TYPES) if particle_type == "all" else range(int(particle_type), int(particle_type) + 1)


@dataclass(frozen=True)
class ParticleFile(ABC):
    """One checked file of a snapshot, of any format. It is opened only while its rows are read."""

    path: Path
    header: Header
    position_dtype: np.dtype  # in memory: native byte order

    def types(self, particle_type: int | str) -> range:
        """Return the particle types that ``particle_type`` (0 to 5, or ``all``) stands for."""
        return types(particle_type)

    def n_rows(self, particle_type: int | str) -> int:
        """Return the number of chosen particles in this file."""
        return sum(self.header.n_part[kind] for kind in types(particle_type))

    @abstractmethod
    def read_positions(self, out: np.ndarray, particle_type: int | str, start: int) -> None:
        """Fill ``out`` with the positions of chosen particles, in the file's unit.

        Parameters
        ----------
        out : (n, 3) of `position_dtype`, C-contiguous; overwritten
        start : first row, among the chosen particles of this file

        Raises
        ------
        ValueError
            when the file ends before these rows.
        """

    def read_masses(self, out: np.ndarray, particle_type: int | str, start: int) -> None:
        """Fill ``out``, (n,) float32, with the masses of chosen particles from ``start`` on [1e10 Msun/h]."""
        for kind, row, part in self.pieces(particle_type, start, len(out)):
            if self.header.mass_table[kind] != 0:
                out[part] = self.header.mass_table[kind]
            else:
                self._read_mass_rows(out[part], kind, row)

    @abstractmethod
    def _read_mass_rows(self, out: np.ndarray, kind: int, row: int) -> None:
        """Fill ``out``, (n,) float32, with the masses in the file of one type from its particle ``row`` on."""

    @abstractmethod
    def where(self, row: int, particle_type: int | str) -> str:
        """Say where a chosen particle lies, for an error message."""

    def pieces(self, particle_type: int | str, start: int, n: int) -> Iterator[tuple[int, int, slice]]:
        """Split ``n`` chosen rows by type: (type, first row among that type, which of the ``n`` rows)."""
        assert start + n <= self.n_rows(particle_type)
        first = 0
        for kind in types(particle_type):
            count = self.header.n_part[kind]
            low, high = max(start, first), min(start + n, first + count)
            if low < high:
                yield kind, low - first, slice(low - start, high - start)
            first += count
