"""Infer the conditions of a generator, as Ω_m and σ_8, from P(k) of one volume, by simulation-based inference with sbi.

    python examples/inference.py runs/demo-cosmology/generator/generator.safetensors redshift=0

The generator simulates, a mixture of Gaussians learns the posterior, and a coverage test says whether to trust it.
"""

import sys

import numpy as np
import torch
from sbi.diagnostics import check_sbc, run_sbc
from sbi.inference import NPE
from sbi.utils import BoxUniform

import cosmogan
from cosmogan import statistics


class Inference:
    """The posterior of a generator's conditions, (n, names), given ln P(k) of volumes, (n, nk).

    Parameters
    ----------
    generator : a conditional one
    fixed : conditions that are known, as {"redshift": 0}; the prior of the others is uniform over the trained range
    n : simulations
    """

    def __init__(self, generator, fixed, n=4000):
        self.generator, self.fixed, conditions = generator, fixed, generator.conditions
        self.names = [name for name in conditions.names if name not in fixed]
        ends = zip(conditions.names, conditions.low, conditions.high, strict=True)
        low, high = zip(*((low, high) for name, low, high in ends if name in self.names), strict=True)
        self.prior = BoxUniform(torch.tensor(low), torch.tensor(high))
        values = self.prior.sample((n,))
        trainer = NPE(self.prior, density_estimator="mdn", show_progress_bars=False)
        trainer.append_simulations(values, self.spectra(values, seed=1)).train()
        self.posterior = trainer.build_posterior()

    def spectra(self, values, seed):
        """Return ln P(k) up to Nyquist of one volume under each row of values: the volumes of a seed."""
        known = {name: torch.full((len(values),), float(value)) for name, value in self.fixed.items()}
        known |= dict(zip(self.names, values.T, strict=True))
        conditions = torch.stack([known[name] for name in self.generator.conditions.names], dim=1)
        latents, geometry = self.generator.latents(seed, np.arange(len(values))), self.generator.geometry
        size, logarithms = geometry["subvolume"] * geometry["box_size"] / geometry["n_mesh"], []
        for latent, condition in zip(latents.split(64), conditions.split(64), strict=True):
            found = statistics.power_spectrum(self.generator(latent, condition), size)
            logarithms.append(np.log(found.power[:, found.k <= found.k_nyquist]))
        return torch.from_numpy(np.concatenate(logarithms)).float()

    def coverage(self, n=300, draws=500):
        """Return for each name the p-value of uniform ranks of true values among draws from their posteriors."""
        values = self.prior.sample((n,))
        ranks, of_data = run_sbc(values, self.spectra(values, 2), self.posterior, draws, show_progress_bar=False)
        return check_sbc(ranks, values, of_data, draws)["ks_pvals"]


def main(file, *words):
    """Infer the conditions of a volume in the middle of the prior, and print them with the coverage."""
    torch.manual_seed(1)
    fixed = {name: float(value) for name, value in (word.split("=") for word in words)}
    inference = Inference(cosmogan.load_generator(file), fixed)
    truth = inference.prior.mean[None]
    drawn = inference.posterior.sample((2000,), x=inference.spectra(truth, seed=3), show_progress_bars=False)
    for i, (name, p) in enumerate(zip(inference.names, inference.coverage(), strict=True)):
        print(f"{name}: true {truth[0, i]:.3f}, inferred {drawn[:, i].mean():.3f} ± {drawn[:, i].std():.3f}; ", end="")
        print(f"ranks are uniform with p = {p:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
