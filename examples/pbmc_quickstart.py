"""Fit real cells, ask whether the latent space is alive, write the latents. Needs no network.

python examples/pbmc_quickstart.py [--quick] [--out pbmc.h5ad]
"""

import argparse

import omicvae as ov


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the bundled PBMC counts.")
    parser.add_argument("--quick", action="store_true", help="10 epochs, and no UMAP check")
    parser.add_argument("--out", default="pbmc.h5ad", help="where the cells go with their latents")
    options = parser.parse_args()

    adata = ov.datasets.pbmc68k_counts()
    ov.CVAE.setup_anndata(
        adata,
        categorical_covariate_keys=["phase"],
        continuous_covariate_keys=["S_score", "G2M_score"],
        labels_key="bulk_labels",
    )
    model = ov.CVAE(adata, seed=0)
    model.train(max_epochs=10 if options.quick else None, progress_bar=not options.quick)
    model.write_latent()
    adata.write_h5ad(options.out)
    print(model.diagnose(umap=not options.quick))
    print(f"Latents: obsm['X_omicvae'] of {options.out}")


if __name__ == "__main__":
    main()
