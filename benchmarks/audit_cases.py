"""The cases of docs/audit.md: averaged losses in plain PyTorch, and dead latents that a check of means acquits.

On the 700 bundled PBMC. `averaged`: a VAE of one hidden layer on log-normalised values, trained on the sum of squared
errors and the KL over dimensions, and on averages of both with a KL of weight 3. `range`: SCVI of scvi-tools at several
weights of the KL, with the largest absolute posterior mean of each dimension: one that is below 0.1 in all cells counts
as vanished in DRVI's summary.
"""

import json
import logging
import warnings

import numpy as np
from _common import parser, run_child, write

WEIGHTS = (1.0, 10.0, 30.0, 45.0, 60.0, 75.0, 100.0)
VANISHED = 0.1
KEY = "bulk_labels"


def summary(diagnosis) -> dict:
    """Return what both parts tell of a fit."""
    values = diagnosis.evidence.set_index("check")["value"]
    probes = diagnosis.probes.query("classifier == 'logistic'").set_index("representation")
    rows = {"rate": "rate (KL)", "active": "active units", "use": "decoder use", "gain": "gain over null"}
    names = {"draw": "posterior draw", "means": "standardised means", "pca": "PCA"}
    return {
        "verdict": diagnosis.verdict,
        **{name: float(values[row]) for name, row in rows.items()},
        **{name: float(probes.loc[title, "balanced_accuracy"]) for name, title in names.items()},
        **{f"{name}_accuracy": float(probes.loc[title, "accuracy"]) for name, title in names.items()},
    }


def averaged(epochs: int) -> list[dict]:
    """Train on sums and on averages of the same two terms."""
    import torch
    from torch import nn

    import omicvae as ov

    adata = ov.datasets.pbmc68k_counts()
    x = adata.X.toarray()
    x = torch.from_numpy(np.log1p(x / x.sum(1, keepdims=True) * 1e4).astype(np.float32))
    order = np.random.default_rng(0).permutation(len(x))
    train, validation = order[:630], order[630:]
    runs = []
    for name in ("sums", "averages"):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Linear(128, 20))
        decoder = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, x.shape[1]))
        network = nn.ModuleDict({"body": body, "decoder": decoder})
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)

        def encode(x, body=body):
            mean, log_variance = body(x).chunk(2, dim=1)
            return mean, torch.exp(0.5 * log_variance)

        def nll(x, z, decoder=decoder):
            return 0.5 * (x - decoder(z)).square().sum(1)

        rng = np.random.default_rng(1)
        for _ in range(epochs):
            for rows in np.array_split(rng.permutation(train), 10):
                mean, sd = encode(x[rows])
                kl = 0.5 * (sd**2 + mean**2 - 1 - 2 * sd.log())
                recon = nll(x[rows], mean + sd * torch.randn_like(sd))
                sums = recon.mean() + kl.sum(1).mean()
                loss = sums if name == "sums" else 2 * recon.mean() / x.shape[1] + 3 * kl.mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        diagnosis = ov.audit(encode, nll, x, labels=adata.obs[KEY], validation=validation, umap=False)
        runs.append({"part": "averaged", "loss": name, **summary(diagnosis)})
    return runs


def ranges(epochs: int) -> list[dict]:
    """SCVI at several weights of the KL."""
    import scvi

    import omicvae as ov

    runs = []
    for weight in WEIGHTS:
        adata = ov.datasets.pbmc68k_counts()
        scvi.settings.seed = 0
        scvi.model.SCVI.setup_anndata(adata, batch_key="phase")
        model = scvi.model.SCVI(adata, n_latent=32, gene_likelihood="nb")
        plan = {"max_kl_weight": weight, "n_epochs_kl_warmup": epochs // 10, "lr": 5e-3}
        model.train(epochs, plan_kwargs=plan, accelerator="cpu", enable_progress_bar=False, check_val_every_n_epoch=1)
        diagnosis = ov.diagnose(model, KEY, umap=False)
        largest_K = np.abs(diagnosis.inputs.mean_NK).max(0)
        kept = int((largest_K >= VANISHED).sum())
        extra = {"kl_weight": weight, "not_vanished": kept, "n_latent": 32, "largest_mean": float(largest_K.max())}
        runs.append({"part": "range", **extra, **summary(diagnosis)})
    return runs


def measure(epochs: int) -> dict:
    """One process."""
    for name in ("omicvae", "lightning.pytorch", "scvi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        return {"runs": averaged(epochs) + ranges(epochs)}


def main() -> None:
    options = parser(__doc__, "audit_cases").parse_args()
    if options.child:
        print(json.dumps(measure(**options.child)))
        return
    made = run_child(__file__, epochs=10 if options.quick else 100)
    path = write(options.name, made.get("runs", [made]))
    print(path.read_text())


if __name__ == "__main__":
    main()
