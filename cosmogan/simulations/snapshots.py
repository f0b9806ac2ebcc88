"""Find the snapshots of an experiment, and check that they belong together."""

import fnmatch
import glob
import itertools
import os
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cosmogan.config import Experiment, Preprocess
from cosmogan.nbody import gadget
from cosmogan.nbody.snapshot import Snapshot, one_of_each, open_snapshot, stem_of

UNITS = {"kpc/h": 1e-3, "Mpc/h": 1.0}  # [Mpc/h]

_UNIT_TOLERANCE = 2.0  # a wrong unit is off by a factor 1e9; a box with only its dark matter chosen by less than this
_SAME = 1e-3  # between box sizes (relative), Omega0 and redshifts that are meant to be equal
_SAME_REDSHIFT = 1e-4  # between outputs of one run
_EXAMPLE = "sims/box-{simulation:03d}/snapshot_{snapshot:03d}"
# What may follow a snapshot's name in the name of one of its files.
_ENDING = r"(?:\.\d+)?(?:\.hdf5|\.h5)?"


@dataclass(frozen=True)
class Source:
    """One snapshot and its place in the experiment."""

    simulation: int
    number: int | None  # {snapshot} in the pattern; None without
    snapshot: Snapshot

    @property
    def path(self) -> Path:
        """The first file, which error messages name."""
        return self.snapshot.files[0].path


def find(experiment: Experiment) -> tuple[Source, ...]:
    """Find, open and check every snapshot of an experiment: headers and block lengths only.

    Returns
    -------
    sources : sorted by simulation, then by number

    Raises
    ------
    ValueError
        one line that names the file or the setting, what was found and what was expected.
    """
    settings = experiment.preprocess
    sources = tuple(_with_box(source, settings) for source in _open(experiment.snapshots, settings.particle_type))
    if not settings.snapshots:  # an earlier run may have simulated more
        sources = tuple(source for source in sources if source.simulation < experiment.simulate.n_simulations)
    for source in sources:
        _check_particles(source.snapshot)
    _check_units(sources, settings.length_unit)
    varied = "omega_m" in (*experiment.model.condition, *experiment.simulate.latin_hypercube)
    for source in sources[1:]:
        _check_agreement(source, sources[0], varied)
    for _, of_one in itertools.groupby(sources, key=lambda source: source.simulation):
        _check_redshifts(tuple(of_one))
    _check_held_out(experiment.held_out, sorted({source.simulation for source in sources}))
    return sources


def _open(entries: tuple[str, ...], particle_type: int | str) -> tuple[Source, ...]:
    patterns = [entry for entry in entries if _is_pattern(entry)]
    if patterns:
        if len(entries) > 1:
            raise ValueError(
                f"preprocess.snapshots: the pattern {patterns[0]} stands for all; expected no other entry, "
                f"found {len(entries) - 1} more"
            )
        paths = _match(patterns[0]).items()
        return tuple(Source(*numbers, open_snapshot(path, particle_type)) for numbers, path in paths)
    opened: dict[Path, Snapshot] = {}
    for path in _paths(entries, particle_type):
        snapshot = open_snapshot(path, particle_type)
        opened.setdefault(snapshot.files[0].path.absolute(), snapshot)  # one that two entries stand for is taken once
    return tuple(Source(i, None, snapshot) for i, snapshot in enumerate(opened.values()))


def _paths(entries: tuple[str, ...], particle_type: int | str) -> list[Path]:
    """Return the snapshots that paths, stems, folders and globs stand for, in the order given."""
    paths: list[Path] = []
    for entry in entries:
        matches = _glob(entry) if glob.has_magic(entry) and not os.path.exists(entry) else [Path(entry)]
        if not matches:
            raise ValueError(f"preprocess.snapshots: nothing matches {entry}")
        paths += one_of_each(matches, particle_type)
    return paths


def _glob(entry: str) -> list[Path]:
    """Return the files and folders that a glob matches, and stems of files with an ending, in natural order."""
    matches = set(map(Path, glob.iglob(entry)))
    for path in set(map(Path, glob.iglob(entry + ".*"))) - matches:
        stem = stem_of(path)
        if stem != path and path.is_file() and fnmatch.fnmatchcase(stem.name, Path(entry).name):
            matches.add(stem)
    return sorted(matches, key=_natural)


def _natural(path: Path) -> list[tuple[list[int | str], str]]:
    """Return the key by which names sort as people count: box2 before box10."""
    return [
        ([int(text) if i % 2 else text for i, text in enumerate(re.split("([0-9]+)", part))], part)
        for part in path.parts
    ]


def length_unit(snapshot: Snapshot, setting: str) -> float:
    """Return a snapshot's unit of length [Mpc/h]: the one that its files state, or else the setting's."""
    own = snapshot.header.length
    if own is None:
        return UNITS[setting]
    return next((unit for unit in UNITS.values() if abs(own / unit - 1) < _SAME), own)


def remarks(sources: tuple[Source, ...], settings: Preprocess) -> list[str]:
    """Return warnings about the snapshots: contradictions, parts that are left out, checks that were impossible."""
    texts: dict[str, list[Path]] = {}
    for source in sources:
        own = {(text, file.path) for file in source.snapshot.files for text in file.header.remarks}
        for text, path in sorted(own) + [(text, source.path) for text in _of_units(source.snapshot, settings)]:
            texts.setdefault(text, []).append(path)
    lines = [
        f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: {text}" for text, paths in texts.items()
    ]
    return [*lines, *(_copies(sources) if settings.snapshots else ())]  # particles in memory may not be made yet


def _copies(sources: tuple[Source, ...]) -> Iterator[str]:
    """Yield a line for each snapshot that begins with the particles of an earlier one."""
    firsts: dict[tuple[int, bytes], Path] = {}
    for source in sources:
        first = firsts.setdefault((source.snapshot.n_particles, source.snapshot.beginning), source.path)
        if source.snapshot.beginning and first != source.path:
            yield f"{source.path}: begins with the particles of {first}: is it the same snapshot under another name?"


def _of_units(snapshot: Snapshot, settings: Preprocess) -> Iterator[str]:
    unit = length_unit(snapshot, settings.length_unit)
    if snapshot.header.length is not None:
        if unit not in UNITS.values():
            yield (
                f"its lengths are in units of {unit:.6g} Mpc/h, as it says itself; "
                f"preprocess.length_unit={settings.length_unit} is not used"
            )
    elif snapshot.particle_type not in ("all", 1):
        yield (
            f"preprocess.length_unit={settings.length_unit} could not be checked: "
            f"particles of type {snapshot.particle_type} alone do not have the mean density"
        )
    elif not snapshot.header.omega_m > 0:
        yield (
            f"preprocess.length_unit={settings.length_unit} could not be checked: "
            "the header has no Omega0 to compare the mean density with"
        )


def _with_box(source: Source, settings: Preprocess) -> Source:
    """Return a snapshot with the box of ``preprocess.box_size`` where its header has none."""
    snapshot, unit = source.snapshot, length_unit(source.snapshot, settings.length_unit)
    own, given = snapshot.box_size * unit, settings.box_size
    if given is None:
        if own == 0:
            raise ValueError(f"{source.path}: the header's BoxSize is 0; expected a length: set preprocess.box_size")
        return source
    if own != 0:
        if abs(own / given - 1) > _SAME:
            raise ValueError(
                f"preprocess.box_size: {source.path} has a BoxSize of {own:g} Mpc/h, found {given:g}; leave it out"
            )
        return source
    files = tuple(replace(file, header=replace(file.header, box_size=given / unit)) for file in snapshot.files)
    return replace(source, snapshot=replace(snapshot, files=files))


def _is_pattern(entry: str) -> bool:
    return "{" in entry and not os.path.exists(entry)


def _match(pattern: str) -> dict[tuple[int, int | None], Path]:
    """Return the snapshots on disk that a pattern would name: {(simulation, number): path}, sorted."""
    pattern = str(Path(pattern))  # as glob spells it
    parts = _parse(pattern)
    names = [name for _, name, _ in parts if name is not None]
    literals = "".join(glob.escape(text) + ("*" if name else "") for text, name, _ in parts)
    # A field is at least as wide as its format makes 0, so that adjacent ones are told apart.
    expression = "".join(
        re.escape(text) + (rf"(\d{{{len(format(0, spec))},}})" if name else "") for text, name, spec in parts
    )
    paths: dict[tuple[int, int | None], Path] = {}
    for path in itertools.chain(glob.iglob(literals), glob.iglob(literals + ".*")):
        match = re.fullmatch(f"({expression}){_ENDING}", path)
        if match:
            numbers = dict(zip(names, map(int, match.groups()[1:]), strict=True))
            if pattern.format(**numbers) == match[1]:
                paths[numbers["simulation"], numbers.get("snapshot")] = Path(match[1])
    if not paths:
        example = pattern.format(simulation=0, snapshot=0)
        raise ValueError(f"preprocess.snapshots: nothing matches {pattern}; expected files such as {example}")
    return dict(sorted(paths.items(), key=lambda item: (item[0][0], item[0][1] or 0)))


def _parse(pattern: str) -> list[tuple[str, str | None, str]]:
    """Split a pattern into (text, field after it, the field's format)."""
    try:
        parts = [(text, name, spec or "") for text, name, spec, _ in string.Formatter().parse(pattern)]
        pattern.format(simulation=0, snapshot=0)
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"preprocess.snapshots: {pattern}: not a pattern of {{simulation}} and {{snapshot}} ({error}); "
            f"expected one such as {_EXAMPLE}"
        ) from None
    fields = [name for _, name, _ in parts if name is not None]
    if "simulation" not in fields:
        raise ValueError(f"preprocess.snapshots: {pattern}: expected a field {{simulation}}, as in {_EXAMPLE}")
    return parts


def _check_particles(snapshot: Snapshot) -> None:
    if snapshot.n_particles == 0:
        raise ValueError(
            f"{snapshot.files[0].path}: no particles of preprocess.particle_type={snapshot.particle_type}; "
            f"it has {list(snapshot.counts)} of types 0 to 5"
        )


def fits(snapshot: Snapshot, mass: float, unit: float) -> bool:
    """Say whether a snapshot's mean density is near that of its Omega0, if its lengths are in this unit [Mpc/h].

    Parameters
    ----------
    mass : of all chosen particles [1e10 Msun/h]
    """
    density = mass / (snapshot.box_size * unit) ** 3
    return 1 / _UNIT_TOLERANCE < density / (gadget.CRITICAL_DENSITY * snapshot.header.omega_m) < _UNIT_TOLERANCE


def check_unit(snapshot: Snapshot, mass: float | None, setting: str) -> None:
    """Raise when the mean density shows that lengths are not in the unit of ``length_unit``.

    Parameters
    ----------
    mass : of all chosen particles [1e10 Msun/h]; None where it is not known: then nothing is checked
    """
    omega_m, unit = snapshot.header.omega_m, length_unit(snapshot, setting)
    if unit != UNITS[setting] and (named := [name for name in UNITS if UNITS[name] == unit]):
        raise ValueError(
            f"{snapshot.files[0].path}: says that its lengths are in {named[0]}; "
            f"expected preprocess.length_unit={named[0]}, found {setting}"
        )
    if mass is None or not omega_m > 0 or snapshot.particle_type not in ("all", 1):
        return
    if fits(snapshot, mass, unit):
        return
    density = mass / (snapshot.box_size * unit) ** 3
    other = next((f"; it fits {name}" for name in UNITS if fits(snapshot, mass, UNITS[name])), "")
    of_unit = setting if unit == UNITS[setting] else f"times {unit:g} Mpc/h"
    raise ValueError(
        f"{snapshot.files[0].path}: in a box of {snapshot.box_size:g} {of_unit} the mean density is {density:.4g}, "
        f"expected {gadget.CRITICAL_DENSITY * omega_m:.4g} [1e10 Msun/h / (Mpc/h)³] by Omega0 = {omega_m:g}{other}: "
        f"is preprocess.length_unit={setting} right?"
    )


def _check_units(sources: tuple[Source, ...], length_unit: str) -> None:
    """Raise when the mean density of a snapshot shows another length unit than set."""
    for source in sources:
        try:
            check_unit(source.snapshot, source.snapshot.table_mass, length_unit)
        except ValueError as error:
            others = f" {sources[0].path} agrees with it; expected one unit for all" if source is not sources[0] else ""
            raise ValueError(f"{error}{others}") from None


def _check_agreement(source: Source, first: Source, varied: bool) -> None:
    """Raise when a snapshot has another box, cosmology (unless it is varied), or, alone, time than the first."""
    header, reference = source.snapshot.header, first.snapshot.header
    compared = [
        ("BoxSize", header.box_size, reference.box_size, "an experiment takes snapshots of one kind"),
    ]
    if not varied:
        advice = "an experiment takes snapshots of one kind, or is conditioned on omega_m by model.condition"
        compared.append(("Omega0", header.omega_m, reference.omega_m, advice))
    if source.number is None:
        advice = f"give snapshots of several redshifts as one pattern, such as {_EXAMPLE}"
        compared.append(("redshift", header.redshift, reference.redshift, advice))
    for name, value, expected, advice in compared:
        if abs(value - expected) > _SAME * max(abs(expected), 1):
            raise ValueError(f"{source.path}: {name} is {value:g}, but {first.path} has {expected:g}; {advice}")


def _check_redshifts(sources: tuple[Source, ...]) -> None:
    """Raise when two snapshots of one simulation are of the same time."""
    ordered = sorted(sources, key=lambda source: source.snapshot.redshift)
    for pair in itertools.pairwise(ordered):
        if pair[1].snapshot.redshift - pair[0].snapshot.redshift <= _SAME_REDSHIFT:
            first, second = sorted(pair, key=lambda source: source.number or 0)
            redshift = round(second.snapshot.redshift, 4)
            raise ValueError(
                f"{second.path}: redshift is {redshift:g}, as in {first.path} of the same simulation; "
                "expected one snapshot a redshift (GADGET-2 may write its last one twice): "
                "name only one of the two, or move one away"
            )


def _check_held_out(held_out: tuple[int, ...], simulations: list[int]) -> None:
    for number in held_out:
        if number not in simulations:
            first, last = simulations[0], simulations[-1]
            listed = ", ".join(map(str, simulations[:20])) + (", …" if len(simulations) > 20 else "")
            whole = len(simulations) == last - first + 1
            expected = f"from {first} to {last}" if whole else f"among {listed}"
            raise ValueError(f"held_out: expected simulations {expected}, found {number}")
