"""Open a snapshot in one file or several, of any GADGET-2 format, and read its chosen particles by number."""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cosmogan.nbody import gadget, gadget_hdf5
from cosmogan.nbody.particle_file import N_TYPES, Header, ParticleFile
from cosmogan.nbody.records import MARKER_WRAP

# A file's name: the snapshot's, the file's number where there are several, and the ending of format 3.
_NAME = re.compile(r"(?P<stem>.+?)(\.(?P<number>\d+))?(?P<suffix>\.hdf5|\.h5)?")


N_FIRST = 8  # positions that tell one file's particles from another's


@dataclass(frozen=True)
class Snapshot:
    """A checked snapshot and the particles of it that are chosen, numbered over all files in file order."""

    files: tuple[ParticleFile, ...]
    particle_type: int | str  # 0 to 5, or "all"

    @property
    def header(self) -> Header:
        """The first file's header; its ``n_part`` is of that file only."""
        return self.files[0].header

    @property
    def box_size(self) -> float:
        """Side of the box, in the files' length unit."""
        return self.header.box_size

    @property
    def redshift(self) -> float:
        """Redshift; 0 where GADGET-2 wrote 2e-16."""
        return self.header.redshift

    @cached_property
    def beginning(self) -> bytes:
        """The first few positions, which tell a snapshot from another of as many particles; empty: they are 0."""
        return next(filter(None, (_beginning(file, self.particle_type) for file in self.files)), b"")

    @cached_property
    def _ends(self) -> np.ndarray:
        """Number of chosen particles in the files up to and with each."""
        return np.cumsum([file.n_rows(self.particle_type) for file in self.files], dtype=np.int64)

    @property
    def n_particles(self) -> int:
        """Chosen particles in all files."""
        return int(self._ends[-1])

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Particles of each type, 0 to 5, in all files, chosen or not."""
        return tuple(sum(file.header.n_part[kind] for file in self.files) for kind in range(N_TYPES))

    @cached_property
    def table_mass(self) -> float | None:
        """Mass of all chosen particles [1e10 Msun/h], None when the files, not the mass table, have some of it."""
        chosen = [kind for kind in self.files[0].types(self.particle_type) if self.counts[kind] > 0]
        if any(self.header.mass_table[kind] == 0 for kind in chosen):
            return None
        return sum(self.counts[kind] * self.header.mass_table[kind] for kind in chosen)

    @cached_property
    def particle_mass(self) -> float | None:
        """The mass that all chosen particles share [1e10 Msun/h], None when they differ or are not in the table."""
        kinds = self.files[0].types(self.particle_type)
        masses = {self.header.mass_table[kind] for kind in kinds if self.counts[kind] > 0}
        return masses.pop() if len(masses) == 1 and 0.0 not in masses else None

    @cached_property
    def position_dtype(self) -> np.dtype:
        """Precision of the positions: float32 or float64 in native byte order."""
        return next((f.position_dtype for f in self.files if f.n_rows(self.particle_type)), np.dtype("f4"))

    def read_positions(self, out: np.ndarray, start: int) -> None:
        """Fill ``out``, (n, 3) of `position_dtype` and C-contiguous, with particles from ``start`` on [file's unit]."""
        for file, row, part in self._pieces(start, len(out)):
            file.read_positions(out[part], self.particle_type, row)

    def read_masses(self, out: np.ndarray, start: int) -> None:
        """Fill ``out``, (n,) float32, with the masses of the particles from ``start`` on [1e10 Msun/h]."""
        for file, row, part in self._pieces(start, len(out)):
            file.read_masses(out[part], self.particle_type, row)

    def where(self, row: int) -> str:
        """Say where a chosen particle lies, for an error message."""
        file, row, _ = next(self._pieces(row, 1))
        return file.where(row, self.particle_type)

    def _pieces(self, start: int, n: int) -> Iterator[tuple[ParticleFile, int, slice]]:
        """Split ``n`` rows by file: (file, first row in it, which of the ``n`` rows)."""
        if not 0 <= start <= start + n <= self.n_particles:
            raise ValueError(f"expected rows of 0 to {self.n_particles}, found {start} to {start + n}")
        row = start
        for i in range(int(np.searchsorted(self._ends, start, "right")), len(self.files)):
            if row == start + n:
                return
            end = min(int(self._ends[i]), start + n)
            if row < end:
                first = int(self._ends[i - 1]) if i else 0
                yield self.files[i], row - first, slice(row - start, end - start)
            row = end


def open_snapshot(path: Path | str, particle_type: int | str) -> Snapshot:
    """Find and check all files of a snapshot; reads headers and record markers only.

    Parameters
    ----------
    path : the file, one of the files, their common name (``snapshot_006`` for ``snapshot_006.0`` or
        ``snapshot_006.0.hdf5``), or a folder with one snapshot in it
    particle_type : the chosen particles, 0 to 5 or ``all``

    Raises
    ------
    ValueError
        when a file is missing or damaged, or the files do not fit together.
    """
    first = open_file(_first_file(Path(path), particle_type), particle_type)
    if first.header.n_files == 1:
        return _checked(Snapshot((first,), particle_type), first.path)
    stem, _, suffix = _split(first.path)
    n_files = first.header.n_files
    numbers = {number for path in stem.parent.iterdir() if (number := _number(path, stem, suffix)) is not None}
    lacking = n_files - sum(number < n_files for number in numbers)  # a damaged header may say billions of files
    if lacking:
        absent = next(number for number in itertools.count() if number not in numbers)
        raise ValueError(
            f"{_part(stem, absent, suffix)}: not found; {first.path.name} says that the snapshot has {n_files} files"
            + (f"; {lacking} of them are missing" if lacking > 1 else "")
        )
    paths = [_part(stem, number, suffix) for number in range(n_files)]
    if first.path not in paths:
        raise ValueError(f"{first.path}: its header says {n_files} files; expected one of .0 to .{n_files - 1}")
    return _checked(Snapshot(tuple(open_file(part, particle_type) for part in paths), particle_type), stem)


def open_file(path: Path, particle_type: int | str = "all") -> ParticleFile:
    """Open and check one file, of whatever format it is."""
    return (gadget_hdf5 if _is_hdf5(path) else gadget).open_file(path, particle_type)


def one_of_each(paths: Iterable[Path], particle_type: int | str) -> list[Path]:
    """Return one path for each snapshot, in the order given, where several may be files of the same one."""
    groups: dict[tuple[Path, bool, str], list[Path]] = {}
    for path in paths:
        stem, number, suffix = _split(path)
        groups.setdefault((stem, number is not None, suffix), []).append(path)
    firsts: list[Path] = []
    for group in groups.values():
        # Names may mislead: `z.1` and `z.2` are two snapshots when their headers speak of one file.
        together = len(group) > 1 and open_file(group[0], particle_type).header.n_files > 1
        firsts += group[:1] if together else group
    return firsts


def stem_of(path: Path) -> Path:
    """Return the snapshot's name: a file's without its number and ending."""
    return _split(path)[0]


def _first_file(path: Path, particle_type: int | str) -> Path:
    """Return a file of the snapshot that a path stands for."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        candidates = one_of_each(filter(_is_snapshot, files), particle_type)
        if len(candidates) != 1:
            names = ", ".join(p.name for p in candidates) or f"{len(files)} other file(s)"
            raise ValueError(
                f"{path}: expected a folder with one GADGET-2 snapshot, found {names}; name the one to read"
            )
        return candidates[0]
    if path.is_file():
        return path
    endings = (".0", *(number + suffix for number in ("", ".0") for suffix in gadget_hdf5.SUFFIXES))
    candidates = [p for p in (path.with_name(path.name + ending) for ending in endings) if p.is_file()]
    if len(candidates) > 1:
        raise ValueError(f"{path}: stands for {' and '.join(p.name for p in candidates)}; name the one to read")
    if not candidates and path.parent.is_dir():  # file 0 may be missing: any other says so
        candidates = sorted(p for p in path.parent.iterdir() if _split(p)[0] == path and p.is_file())
    return candidates[0] if candidates else path


def _split(path: Path) -> tuple[Path, int | None, str]:
    """Split a file's name: the snapshot's name, the file's number in it, the ending."""
    match = _NAME.fullmatch(path.name)
    if match is None:  # of the folder that one is in, "."
        return path, None, ""
    number = match["number"]
    return path.with_name(match["stem"]), None if number is None else int(number), match["suffix"] or ""


def _part(stem: Path, number: int, suffix: str) -> Path:
    return stem.with_name(f"{stem.name}.{number}{suffix}")


def _number(path: Path, stem: Path, suffix: str) -> int | None:
    """Return a file's number in the snapshot of this name; None of another's, or of no file."""
    number = _split(path)[1]
    return number if number is not None and path == _part(stem, number, suffix) and path.is_file() else None


def _is_hdf5(path: Path) -> bool:
    if not path.is_file():
        return path.suffix in gadget_hdf5.SUFFIXES
    with open(path, "rb") as file:
        return file.read(len(gadget_hdf5.SIGNATURE)) == gadget_hdf5.SIGNATURE


def _is_snapshot(path: Path) -> bool:
    return (gadget_hdf5 if _is_hdf5(path) else gadget).is_snapshot(path)


def _beginning(file: ParticleFile, particle_type: int | str) -> bytes:
    """Return the first few positions of a file; nothing where they are all 0."""
    positions = np.empty((min(file.n_rows(particle_type), N_FIRST), 3), file.position_dtype)
    file.read_positions(positions, particle_type, 0)
    return positions.tobytes() if positions.any() else b""


def _low_words(header: Header) -> list[int]:
    """Return the total numbers of particles modulo 2³²: before GADGET-2 their high words were unused bytes."""
    return [n % MARKER_WRAP for n in header.n_total]


def _checked(snapshot: Snapshot, name: Path) -> Snapshot:
    """Raise when the files do not fit together; return the snapshot."""
    first = snapshot.files[0]
    for file in snapshot.files[1:]:
        # Without particles a file has no positions to tell the precision by.
        precision = file.position_dtype if file.n_rows(snapshot.particle_type) else snapshot.position_dtype
        for what, value, expected in (
            ("BoxSize", file.header.box_size, first.header.box_size),
            ("redshift", file.header.redshift, first.header.redshift),
            ("the mass table", file.header.mass_table, first.header.mass_table),
            ("the total", _low_words(file.header), _low_words(first.header)),
            ("the number of files", file.header.n_files, first.header.n_files),
            ("the positions' precision", precision, snapshot.position_dtype),
        ):
            if value != expected:
                raise ValueError(
                    f"{file.path}: {what} is {value}, but {first.path.name} has {expected}; "
                    "expected files of one run: was one of them left over from another?"
                )
    firsts: dict[bytes, Path] = {}
    for file in snapshot.files if len(snapshot.files) > 1 else ():
        first_positions = _beginning(file, snapshot.particle_type)
        if first_positions and firsts.setdefault(first_positions, file.path) != file.path:
            raise ValueError(
                f"{file.path}: begins with the particles of {firsts[first_positions].name}; "
                "expected other ones: was one file copied, or linked, to the name of another?"
            )
    total, low = first.header.n_total, _low_words(first.header)
    is_said = any(low) or max(snapshot.counts) >= MARKER_WRAP  # old writers leave zeros
    if is_said and any(total) and any(n not in pair for n, *pair in zip(snapshot.counts, total, low, strict=True)):
        raise ValueError(
            f"{name}: the header says {list(total)} particles of types 0 to 5, "
            f"its {len(snapshot.files)} file(s) have {list(snapshot.counts)}; is the snapshot complete?"
        )
    return snapshot
