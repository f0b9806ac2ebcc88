"""GADGET-2 snapshots, formats 1 and 2: found, checked before any work, read in parts, written.

A file is a sequence of Fortran records: a 32-bit byte count, the data, the count again. HEAD has 256 bytes; POS, VEL
and ID follow, then MASS when a type with particles has no entry in the mass table. Format 2 puts a record with a
label before each. The binary header states no unit and no precision: lengths are in the file's own unit here, and
the precision follows from the record's length.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

N_TYPES = 6
CRITICAL_DENSITY = 27.7536627  # 3 H0^2 / (8 pi G) [1e10 Msun/h / (Mpc/h)^3]

_HEADER = [
    ("npart", "u4", 6),
    ("mass", "f8", 6),
    ("time", "f8"),
    ("redshift", "f8"),
    ("flag_sfr", "i4"),
    ("flag_feedback", "i4"),
    ("npartTotal", "u4", 6),
    ("flag_cooling", "i4"),
    ("num_files", "i4"),
    ("BoxSize", "f8"),
    ("Omega0", "f8"),
    ("OmegaLambda", "f8"),
    ("HubbleParam", "f8"),
    ("flag_stellarage", "i4"),
    ("flag_metals", "i4"),
    ("npartTotalHighWord", "u4", 6),
    ("flag_entropy", "i4"),
    ("fill", "V60"),
]
_HEADER_BYTES = 256
_MARKER_WRAP = 1 << 32  # record markers are 32-bit: longer blocks store their length modulo this


@dataclass(frozen=True)
class Header:
    """What one file's header says."""

    n_part: tuple[int, ...]  # particles of each type in this file
    mass_table: tuple[float, ...]  # [1e10 Msun/h]; 0 where the MASS block has them
    redshift: float
    box_size: float  # in the file's length unit
    omega_m: float
    omega_lambda: float
    h: float
    n_total: tuple[int, ...]  # particles of each type in all files
    n_files: int


@dataclass(frozen=True)
class SnapshotFile:
    """One checked file: its header and where its particles lie."""

    path: Path
    header: Header
    position_offset: int  # of the first particle's position [bytes]
    position_dtype: np.dtype
    mass_offset: int | None  # None when the mass table has all masses
    mass_dtype: np.dtype

    def types(self, particle_type: int | str) -> range:
        """Return the particle types that ``particle_type`` (0 to 5, or ``all``) stands for."""
        return range(N_TYPES) if particle_type == "all" else range(int(particle_type), int(particle_type) + 1)

    def rows(self, particle_type: int | str) -> range:
        """Return the rows of the POS block that hold the chosen particles."""
        types = self.types(particle_type)
        return range(sum(self.header.n_part[: types.start]), sum(self.header.n_part[: types.stop]))

    def positions(self, start: int, stop: int) -> np.ndarray:
        """Read rows of the POS block: (stop - start, 3), in the file's unit and precision, native byte order."""
        offset = self.position_offset + 3 * self.position_dtype.itemsize * start
        values = np.fromfile(self.path, self.position_dtype, 3 * (stop - start), offset=offset)
        return _native(values).reshape(-1, 3)

    def masses(self, start: int, stop: int) -> np.ndarray:
        """Read the masses of rows of the POS block: (stop - start,) float32 [1e10 Msun/h]."""
        masses = np.empty(stop - start, np.float32)
        first = row_in_block = 0
        for n, mass in zip(self.header.n_part, self.header.mass_table, strict=True):
            low, high = max(first, start), min(first + n, stop)
            if low < high and mass > 0:
                masses[low - start : high - start] = mass
            elif low < high:
                assert self.mass_offset is not None
                offset = self.mass_offset + self.mass_dtype.itemsize * (row_in_block + low - first)
                masses[low - start : high - start] = np.fromfile(self.path, self.mass_dtype, high - low, offset=offset)
            first += n
            row_in_block += n if mass == 0 else 0
        return masses


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def open_file(path: Path) -> SnapshotFile:
    """Read a file's header and find its blocks, checking that they are whole.

    Raises
    ------
    ValueError
        when the file is missing, empty, truncated, no GADGET-2 snapshot, or its header disagrees with its blocks.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found; expected a GADGET-2 snapshot")
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"{path}: empty; expected a GADGET-2 snapshot")
    with open(path, "rb") as file:
        order, labelled = _format(file, path)
        header = _read_header(_Records(file, path, size, order, labelled), order)
        return _find_blocks(file, path, size, header, (order, labelled))


def _format(file: BinaryIO, path: Path) -> tuple[str, bool]:
    """Return the byte order and whether blocks are labelled, from the first record marker."""
    first = file.read(4)
    for order in "<>":
        marker = int.from_bytes(first, "little" if order == "<" else "big")
        if marker in (8, _HEADER_BYTES):
            return order, marker == 8
    if first == b"\x89HDF":
        raise ValueError(
            f"{path}: an HDF5 snapshot (format 3); expected format 1 or 2: set SnapFormat in the parameter file"
        )
    found = int.from_bytes(first, "little")
    raise ValueError(
        f"{path}: not a GADGET-2 snapshot of format 1 or 2: expected a first record of 256 or 8 bytes, found {found}"
    )


class _Records:
    """Walks a file's records and checks that each is whole and as long as it should be."""

    def __init__(self, file: BinaryIO, path: Path, size: int, order: str, labelled: bool) -> None:
        self.file, self.path, self.size, self.order, self.labelled = file, path, size, order, labelled
        self.place = 0

    def take(self, name: str, lengths: tuple[int, ...]) -> tuple[int, int]:
        """Return the next record's (offset, length); ``lengths`` are those it may have."""
        if self.labelled:
            self._check_label(name)
        marker = self._marker(self.place, name)
        length = next((n for n in lengths if n % _MARKER_WRAP == marker), None)
        if length is None:
            expected = " or ".join(str(n) for n in lengths)
            raise ValueError(
                f"{self.path}: the header disagrees with the {name} block: expected {expected} bytes, found {marker}"
            )
        offset = self.place + 4
        if offset + length + 4 > self.size:
            raise ValueError(
                f"{self.path}: truncated in the {name} block: expected at least {offset + length + 4} bytes, "
                f"found {self.size}; copy it again"
            )
        if self._marker(offset + length, name) != marker:
            raise ValueError(f"{self.path}: damaged: the {name} block's two record markers differ; copy it again")
        self.place = offset + length + 4
        return offset, length

    def _check_label(self, name: str) -> None:
        self.file.seek(self.place + 4)
        label = self.file.read(4).decode("ascii", "replace").strip()
        if label != name:
            raise ValueError(f"{self.path}: expected the {name} block, found one labelled {label!r}")
        self.place += 16

    def _marker(self, offset: int, name: str) -> int:
        self.file.seek(offset)
        raw = self.file.read(4)
        if len(raw) < 4:
            raise ValueError(f"{self.path}: truncated before the {name} block: found {self.size} bytes; copy it again")
        return int.from_bytes(raw, "little" if self.order == "<" else "big")


def _read_header(records: _Records, order: str) -> Header:
    offset, _ = records.take("HEAD", (_HEADER_BYTES,))
    records.file.seek(offset)
    raw = np.frombuffer(records.file.read(_HEADER_BYTES), np.dtype(_HEADER).newbyteorder(order))[0]
    n_part = tuple(int(n) for n in raw["npart"])
    n_files = max(int(raw["num_files"]), 1)  # old writers leave 0
    total = tuple(
        int(n) + (int(high) << 32) for n, high in zip(raw["npartTotal"], raw["npartTotalHighWord"], strict=True)
    )
    if n_files == 1 and not any(total):
        total = n_part
    return Header(
        n_part=n_part,
        mass_table=tuple(float(m) for m in raw["mass"]),
        redshift=max(float(raw["redshift"]), 0.0),
        box_size=float(raw["BoxSize"]),
        omega_m=float(raw["Omega0"]),
        omega_lambda=float(raw["OmegaLambda"]),
        h=float(raw["HubbleParam"]),
        n_total=total,
        n_files=n_files,
    )


def _find_blocks(file: BinaryIO, path: Path, size: int, header: Header, layout: tuple[str, bool]) -> SnapshotFile:
    order, labelled = layout
    records = _Records(file, path, size, order, labelled)
    records.take("HEAD", (_HEADER_BYTES,))
    n = sum(header.n_part)
    offset, length = records.take("POS", (12 * n, 24 * n))
    width = 8 if n and length == 24 * n else 4
    n_in_block = sum(k for k, mass in zip(header.n_part, header.mass_table, strict=True) if mass == 0)
    mass_offset, mass_width = None, 4
    if n_in_block:
        records.take("VEL", (12 * n, 24 * n))
        records.take("ID", (4 * n, 8 * n))
        mass_offset, mass_length = records.take("MASS", (4 * n_in_block, 8 * n_in_block))
        mass_width = mass_length // n_in_block
    return SnapshotFile(
        path, header, offset, np.dtype(f"{order}f{width}"), mass_offset, np.dtype(f"{order}f{mass_width}")
    )


def open_snapshot(path: Path) -> list[SnapshotFile]:
    """Find and check all files of a snapshot.

    Parameters
    ----------
    path : the file, one of the files, or the stem of a snapshot in several files (``snapshot_006`` for
        ``snapshot_006.0``, ``snapshot_006.1``, …)

    Raises
    ------
    ValueError
        when a file is missing or damaged, or the files' counts do not add up to the header's total.
    """
    first = open_file(path if path.is_file() else Path(f"{path}.0") if Path(f"{path}.0").is_file() else path)
    n_files = first.header.n_files
    if n_files == 1:
        return [first]
    stem = stem_of(first.path)
    files = []
    for i in range(n_files):
        part = Path(f"{stem}.{i}")
        if not part.is_file():
            raise ValueError(f"{part}: not found; {first.path.name} says that the snapshot has {n_files} files")
        files.append(open_file(part))
    found = tuple(sum(file.header.n_part[t] for file in files) for t in range(N_TYPES))
    if any(first.header.n_total) and found != first.header.n_total:
        raise ValueError(
            f"{stem}: the header says {list(first.header.n_total)} particles of types 0 to 5, "
            f"its {n_files} files have {list(found)}"
        )
    return files


def stem_of(path: Path) -> Path:
    """Return the common name of a several-file snapshot's files."""
    return path.with_suffix("") if path.suffix[1:].isdigit() else path


def write(
    path: Path, positions: np.ndarray, velocities: np.ndarray, ids: np.ndarray, header: Header, labelled: bool = False
) -> None:
    """Write one format-1 file, or format 2 when ``labelled``.

    Parameters
    ----------
    path : final name; the caller writes to a temporary one where that matters
    positions : (n, 3) float32 or float64, in the unit of ``header.box_size``, sorted by type
    velocities : (n, 3) float, v_peculiar / sqrt(a) [km/s]
    ids : (n,) uint32 or uint64
    header : its mass table must hold the mass of every type with particles
    """
    raw = np.zeros((), np.dtype(_HEADER))
    raw["npart"], raw["mass"] = header.n_part, header.mass_table
    raw["time"], raw["redshift"] = 1 / (1 + header.redshift), header.redshift
    raw["npartTotal"] = [n % _MARKER_WRAP for n in header.n_total]
    raw["npartTotalHighWord"] = [n >> 32 for n in header.n_total]
    raw["num_files"], raw["BoxSize"] = header.n_files, header.box_size
    raw["Omega0"], raw["OmegaLambda"], raw["HubbleParam"] = header.omega_m, header.omega_lambda, header.h
    with open(path, "wb") as file:
        for name, block in _blocks(raw, positions, velocities, ids):
            if labelled:
                _write_record(file, np.frombuffer(name + np.uint32((block.nbytes + 8) % _MARKER_WRAP).tobytes(), "u1"))
            _write_record(file, block)


def _blocks(
    header: np.ndarray, positions: np.ndarray, velocities: np.ndarray, ids: np.ndarray
) -> Iterator[tuple[bytes, np.ndarray]]:
    yield b"HEAD", header
    yield b"POS ", positions
    yield b"VEL ", velocities
    yield b"ID  ", ids


def _write_record(file: BinaryIO, block: np.ndarray) -> None:
    marker = np.uint32(block.nbytes % _MARKER_WRAP).tobytes()
    file.write(marker)
    np.ascontiguousarray(block).tofile(file)
    file.write(marker)
