"""Write the texts that a released generator is published with: model card, citation, licence."""

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from cosmogan.nbody.paint import WINDOWS
from cosmogan.reporting import criteria, document
from cosmogan.shards.statistics_file import Tree

MEAN_DENSITY = 27.7536627  # critical density today [1e10 Msun/h per (Mpc/h)³]
HEAD = """\
---
license: mit
library_name: cosmogan
tags: [cosmology, large-scale-structure, n-body, generative-adversarial-network]
---
"""
USE = """\
```python
import cosmogan  # pip install cosmogan

generator = cosmogan.load_generator("generator.safetensors", sha256="{sha256}")
volumes = generator.sample(8, seed=1{condition})  # (8, {m}, {m}, {m}) float32, in units of the mean density
```

In place of the file its address is taken too: `https://….safetensors`, or `hf:organisation/name@revision`."""
JUDGED = """\
{n_generated} generated volumes were compared with {n_held_out} of held-out simulations. ± is the standard
deviation when boxes and samples are drawn again. The noise floor compares one part of the simulations with the rest.
† A calibrated generator meets it by construction, on average over volumes. All figures are in the
[report](report/index.html)."""
GROUPS = {"claims": "claims of the paper", "beyond": "criteria beyond the paper", "demo": "goals of the demo's size"}
PAPER = {
    "type": "article",
    "title": "Nonlinear 3D cosmic web simulation with heavy-tailed generative adversarial networks",
    "authors": [
        {"family-names": "Feder", "given-names": "Richard M."},
        {"family-names": "Berger", "given-names": "Philippe"},
        {"family-names": "Stein", "given-names": "George"},
    ],
    "journal": "Physical Review D",
    "volume": 102,
    "issue": 10,
    "start": 103504,
    "year": 2020,
    "doi": "10.1103/PhysRevD.102.103504",
}
MIT = """\
MIT License

Copyright (c) {year} {authors}

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def model_card(
    settings: Mapping[str, Any], verdict: Mapping[str, Any], measured: Tree, figures: Mapping[str, str]
) -> str:
    """Return the model card, Markdown under the header that Hugging Face reads.

    Parameters
    ----------
    settings : the JSON beside the weights
    verdict : the report's ``verdict.json``
    measured : the statistics
    figures : titles of the figures that are shown, and their files
    """
    geometry, conditions = settings["geometry"], settings.get("conditions")
    condition = "".join(f", {name}=…" for name in conditions["names"]) if conditions else ""
    use = USE.format(sha256=settings["sha256"], condition=condition, m=geometry["subvolume"])
    met = [f"{n['met']} of {n['of']} {GROUPS[group]}" for group, n in verdict["counts"].items()]
    parts = [
        f"# {verdict['run']}: a generator of the cosmic web",
        f"It meets {', '.join(met)}.",
        *("## Use", use, "## Volumes", _table(("", ""), _volumes(settings))),
        *("## Training", _table(("", ""), _training(settings))),
        *("## Claims", JUDGED.format_map(measured)),
        _table(("criterion", "value", "noise floor", "limit", "met"), map(_row, verdict["criteria"])),
        *("## Not good for", "\n".join(f"- {line}" for line in _limits(settings, verdict))),
        *(f"![{title}]({file})" for title, file in figures.items()),
        *("## Licence and citation", "MIT, see [LICENSE](LICENSE). To cite: [CITATION.cff](CITATION.cff)."),
    ]
    return HEAD + "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _volumes(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the generator draws, in words."""
    geometry, conditions = settings["geometry"], settings.get("conditions")
    mass, redshift, m = geometry["mean_cell_mass"], geometry["redshift"], geometry["subvolume"]
    window = {order: name.upper() for name, order in WINDOWS.items()}.get(geometry["window"], "")
    rows = [
        ("volume", f"{m}³ cells of {_cell(geometry):.4g} Mpc/h, {m * _cell(geometry):.4g} Mpc/h a side, not periodic"),
        ("values", f"dark matter density ρ/ρ̄ in units of the mean density of the universe, {window}"),
        ("mean cell", "" if mass is None else f"{mass:.4g} × 10¹⁰ M☉/h"),
        ("redshift", "" if redshift is None or _given(conditions, "redshift") else f"{redshift:.4g}"),
        ("conditions", "" if conditions is None else _ranges(conditions)),
        ("cosmology", _cosmology(settings)),
    ]
    return [row for row in rows if row[1]]


def _cell(geometry: Mapping[str, Any]) -> float:
    return geometry["box_size"] / geometry["n_mesh"]


def _given(conditions: Mapping[str, Any] | None, name: str) -> bool:
    return conditions is not None and name in conditions["names"]


def _ranges(conditions: Mapping[str, Any]) -> str:
    """Return names and trained ranges of conditions."""
    rows = zip(conditions["names"], conditions["low"], conditions["high"], strict=True)
    return ", ".join(f"{name} {low:.4g} to {high:.4g}" for name, low, high in rows)


def _cosmology(settings: Mapping[str, Any]) -> str:
    """Return the cosmology of the training set; of a user's own snapshots what their mass tells."""
    config, conditions, geometry = settings["config"], settings.get("conditions"), settings["geometry"]
    if not config["preprocess"]["snapshots"]:
        fixed = {name: value for name, value in config["cosmology"].items() if not _given(conditions, name)}
        return "flat ΛCDM, " + ", ".join(f"{name} {value:.4g}" for name, value in fixed.items())
    if geometry["mean_cell_mass"] is None:
        return "that of the snapshots"
    omega_m = geometry["mean_cell_mass"] / (MEAN_DENSITY * _cell(geometry) ** 3)
    return f"that of the snapshots, omega_m {omega_m:.3g} by their mass"


def _training(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the generator was trained on, and how."""
    config, model = settings["config"], settings["model"]
    weights = "moving average" if settings.get("ema") else "weights"
    calibrated = "calibrated to training boxes" if settings.get("calibration", {}).get("kept") else "not calibrated"
    latents = f"{model['latent_dimension']} latents, prior {model['prior']}"
    return [
        ("training set", _boxes(config)),
        ("networks", f"those of Feder et al. (2020), {model['width']} channels at the density; {latents}"),
        ("scaling", f"eq. (5) of the paper, κ = {model['kappa']:g}"),
        ("released", f"{weights} of epoch {settings['epoch']} of {config['train']['epochs']}; {calibrated}"),
        ("latent scale", f"{settings['latent_scale']:.4g}"),
        ("SHA-256", f"weights `{settings['sha256']}`, training set `{settings['data']}`"),
    ]


def _boxes(config: Mapping[str, Any]) -> str:
    """Return what simulations were trained on."""
    simulate, cells = config["simulate"], f"{config['preprocess']['n_mesh']}³ cells"
    held_out = f"simulations {', '.join(map(str, config['held_out'])) or 'none'} held out"
    if config["preprocess"]["snapshots"]:
        return f"N-body snapshots of the authors' own, on {cells}; {held_out}"
    n = config["n_training"] or simulate["n_simulations"] - len(config["held_out"])
    return (
        f"{n} boxes of {simulate['n_particles']}³ particles, {simulate['box_size']:.4g} Mpc/h a side, on {cells}: "
        f"2LPT and a particle-mesh code of {simulate['n_steps']} steps by `cosmogan simulate`; {held_out}"
    )


def _row(criterion: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a criterion as cells of the table of claims."""
    unit, mark = criterion["unit"], " †" if criterion["fixed_by_calibration"] else ""
    met = "yes" if criterion["met"] else "no, within noise" if criterion["within_noise"] else "no"
    limit, floor = (criteria.words(_number(criterion[name]), unit) for name in ("limit", "noise_floor"))
    return criterion["goal"] + mark, _value(criterion), floor, limit, met


def _value(criterion: Mapping[str, Any]) -> str:
    return document.with_error(_number(criterion["value"]), _number(criterion["error"]), criterion["unit"])


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _limits(settings: Mapping[str, Any], verdict: Mapping[str, Any]) -> list[str]:
    """Return what the generator is not good for: which criteria it fails, and what no such generator can do."""
    geometry, conditions = settings["geometry"], settings.get("conditions")
    side = geometry["subvolume"] * _cell(geometry)
    where = "conditions outside of the ranges above" if conditions else "another redshift or cosmology than those above"
    failed = [c for c in verdict["criteria"] if not c["met"] and not c["within_noise"]]
    return [
        *(f"what needs this, which it does not meet: {c['goal']} (found {_value(c)})" for c in failed),
        where,
        f"waves longer than a volume, {side:.4g} Mpc/h, or volumes side by side: each is drawn by itself",
        f"scales near a cell, {_cell(geometry):.4g} Mpc/h, and halos: there are no particles",
        "the place of simulations in a measurement: what is not in the table above was not looked at",
    ]


def citation(name: str, authors: Sequence[str], version: str) -> str:
    """Return the text of CITATION.cff.

    Parameters
    ----------
    name : of the generator
    authors : of the generator
    version : of cosmogan
    """
    software = {"type": "software", "title": "cosmogan", "version": version}
    tree = {
        "cff-version": "1.2.0",
        "message": "If you use this generator, please cite it together with the software and the paper.",
        "title": f"{name}: a generator of the cosmic web",
        "type": "dataset",
        "license": "MIT",
        "authors": [{"name": author} for author in authors],
        "references": [{**software, "authors": [{"name": "the cosmogan developers"}]}, PAPER],
    }
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def licence(authors: Sequence[str]) -> str:
    """Return the text of the MIT licence, of this year."""
    return MIT.format(year=datetime.date.today().year, authors=", ".join(authors))
