"""Say what a training depends on, and whether it is done; imports nothing heavy."""

from cosmogan import config
from hpc import rundir

# What may differ when training goes on: where it runs, how far, and how often it saves.
FREE: tuple[str, ...] = (
    "epochs",
    "device",
    "cuda_graphs",
    "cache",
    "checkpoint_minutes",
    "keep_checkpoints",
    "preview_minutes",
)
FREE += ("stage_to", "on_collapse", "max_restarts", "allow_changed")
# What may never differ: the step would stand for other samples, or the networks for others.
FIXED = ("train.batch_size", "train.epoch_repeats", "train.loss", "train.n_critic")


def receipt(experiment: config.Experiment) -> rundir.Receipt:
    """Return the record of this training: the settings and the data that its result depends on."""
    manifest = experiment.shards_folder / "manifest.json"
    names: tuple[str, ...] = ("model", "train", "held_out", "n_training", "redshift")
    if "redshift" in experiment.model.condition:
        names += ("redshifts", "separate_boxes")
    recipe = experiment.section(*names)
    recipe["train"] = {name: value for name, value in recipe["train"].items() if name not in FREE}
    if manifest.exists():
        geometry = rundir.read_json(manifest).get("geometry")
        recipe["data"] = {"geometry": geometry, "manifest_sha256": rundir.checksum(manifest)}
    return rundir.Receipt(experiment.folder, "train", recipe)


def done(experiment: config.Experiment) -> bool:
    """Say whether training ran to its end with these settings, and its generators are there; loads nothing heavy."""
    return finished(experiment) and any(experiment.train_folder.glob("generators/epoch-*"))


def finished(experiment: config.Experiment) -> bool:
    """Say whether training ran to its end with these settings."""
    made = receipt(experiment)
    return made.done() and made.results()["epochs"] >= experiment.train.epochs


def allowed(experiment: config.Experiment) -> tuple[str, ...]:
    """Return the settings that may differ from those that training was begun with.

    Raises
    ------
    ValueError
        when one of them never may.
    """
    names = experiment.train.allow_changed
    for name in names:
        if any(f"{fixed}.".startswith(f"{name}.") for fixed in FIXED):
            raise ValueError(f"train.allow_changed: {name} never may change; train in another `output`")
    return names
