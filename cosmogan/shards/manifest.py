"""Write and read the manifest, which says what a folder holds without opening a shard."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmogan.shards.schema import COLUMNS, FORMAT, Geometry, distinct_redshifts, in_words, same_redshift
from hpc.files import checksum, read_json, write_json
from hpc.receipts import provenance


@dataclass(frozen=True)
class Shard:
    """A shard's line, as far as it is needed to read it."""

    path: Path
    rows: int
    redshift: float
    simulation: int | None  # None: only the file says, or it is generated
    parameters: dict[str, float]  # numbers of its simulation, as omega_m
    mean_cell_mass: float  # [1e10 Msun/h]


@dataclass(frozen=True)
class Manifest:
    """A folder's manifest, or the part of it at one redshift."""

    path: Path
    tree: dict[str, Any]  # all that the file says
    checksum: str
    geometry: Geometry
    kind: str
    source: dict[str, Any]
    shards: tuple[Shard, ...]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read a folder's manifest.

        Raises
        ------
        ValueError
            when it is missing, damaged or something else.
        """
        path = folder / "manifest.json"
        tree = _read_tree(path)
        try:
            plain, kind, source = tree["geometry"], tree["kind"], tree["source"]
            geometry = _geometry(plain)
            shards = tuple(_shard(folder, line, plain) for line in tree["shards"])
            if kind not in COLUMNS:
                raise ValueError(f"kind is {kind!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: damaged: {error}; run the stage that writes it again") from None
        several: dict[str, Any] = {name: float("nan") for name in ("redshift", "mean_cell_mass") if plain[name] is None}
        geometry = dataclasses.replace(geometry, **several)
        return cls(path, tree, checksum(path), geometry, kind, source, shards)

    @property
    def redshifts(self) -> tuple[float, ...]:
        """Rising, without those that differ by less than a time step."""
        return distinct_redshifts(shard.redshift for shard in self.shards)

    def select(self, redshift: float | None) -> "Manifest":
        """Return the part at one redshift; all of it when none is given.

        Raises
        ------
        ValueError
            when there is none: names those there are.
        """
        if redshift is None:
            return self
        kept = tuple(shard for shard in self.shards if same_redshift(shard.redshift, redshift))
        if not kept:
            redshifts = in_words(self.redshifts)
            raise ValueError(f"{self.path.parent}: no subvolumes of redshift {redshift:g}; there are {redshifts}")
        geometry = self.geometry
        if len(self.redshifts) > 1:
            geometry = dataclasses.replace(geometry, redshift=min(shard.redshift for shard in kept))
        return dataclasses.replace(self, shards=kept, geometry=geometry)


def write_manifest(
    folder: Path, geometry: Geometry, kind: str, shards: list[dict[str, Any]], source: Mapping[str, object]
) -> None:
    """Write ``manifest.json``; a folder that has one is complete.

    Its ``geometry`` has the shards' redshift and mean cell mass, or null when they have several.
    """
    plain = dataclasses.asdict(geometry)
    redshifts = distinct_redshifts(shard["redshift"] for shard in shards if "redshift" in shard)
    if len(redshifts) > 1:
        plain["redshift"] = None
    if len({shard.get("mean_cell_mass") for shard in shards}) > 1:
        plain["mean_cell_mass"] = None
    tree = {"format": FORMAT, "kind": kind, "geometry": plain, "source": source}
    write_json(folder / "manifest.json", {**tree, "shards": shards, "versions": provenance()})


def is_complete(folder: Path) -> bool:
    """Say whether a folder has its manifest and every shard that it lists."""
    manifest = folder / "manifest.json"
    return manifest.exists() and all((folder / shard["file"]).exists() for shard in read_json(manifest)["shards"])


def _read_tree(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ValueError(
            f"{path}: not found; run the stage that writes these subvolumes (preprocess or sample) to its end"
        )
    tree = read_json(path)
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        file_format = tree.get("format") if isinstance(tree, dict) else tree
        raise ValueError(f"{path}: expected format {FORMAT}, found {file_format!r}")
    return tree


def _geometry(plain: dict[str, Any]) -> Geometry:
    for name in ("n_mesh", "subvolume"):
        _whole(plain, name)
    return Geometry(**plain | {"box_size": float(plain["box_size"])})


def _whole(plain: dict[str, Any], name: str) -> int:
    """Return a whole number of the manifest."""
    if not isinstance(plain, dict):
        raise TypeError(f"expected {{name: value}} pairs, found {plain!r}")
    if not isinstance(plain[name], int) or plain[name] < 0:
        raise TypeError(f"{name} is {plain[name]!r}")
    return int(plain[name])


def _shard(folder: Path, line: dict[str, Any], plain: dict[str, Any]) -> Shard:
    """Return a shard from its line of the manifest; what an older line lacks is taken from the folder's geometry."""
    rows = _whole(line, "rows")
    own = line.get("redshift", plain["redshift"])
    if own is None:
        raise KeyError(f"redshift of {line['file']}")
    mass = line.get("mean_cell_mass", plain["mean_cell_mass"])
    numbers = line.get("simulation"), line.get("parameters", {}), float(mass)
    return Shard(folder / line["file"], rows, float(own), *numbers)
