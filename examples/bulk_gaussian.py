"""Fit a simulated bulk cohort of real values and compare decoded batch effects with the truth.

python examples/bulk_gaussian.py [--quick]
"""

import argparse

import numpy as np

import omicvae as ov


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit a simulated bulk cohort.")
    parser.add_argument("--quick", action="store_true", help="300 samples and 10 epochs")
    quick = parser.parse_args().quick

    adata = ov.datasets.simulate_bulk(300 if quick else 2000, 200, seed=0)  # log2 expression
    ov.CVAE.setup_anndata(adata, batch_key="batch", continuous_covariate_keys=["age"], labels_key="tissue")
    model = ov.CVAE(adata, likelihood="gaussian")
    model.train(max_epochs=10 if quick else 30, progress_bar=not quick)
    print(model.diagnose(umap=not quick).headline)

    # every sample decoded as if from each batch: what is left between the means is the batch effect
    batches = list(adata.obs["batch"].cat.categories)
    decoded_BG = np.stack([model.get_normalized_expression(transform_batch=b).mean(axis=0) for b in batches])
    truth_BG = adata.varm["batch_effect"][batches].to_numpy().T
    found, true = (effect_BG[1:] - effect_BG[0] for effect_BG in (decoded_BG, truth_BG))
    print(f"Correlation with the true batch effects: {np.corrcoef(found.ravel(), true.ravel())[0, 1]:.3f}")


if __name__ == "__main__":
    main()
