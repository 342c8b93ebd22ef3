"""Where omicvae writes in an AnnData object; the only file that spells these names."""

LATENT = "X_omicvae"
LATENT_SD_SUFFIX = "_sd"
UMAP = "X_omicvae_umap"
UNS = "omicvae"
SETUP = "setup"
DIAGNOSIS = "diagnosis"
COUNTERFACTUAL = "counterfactual"
RESERVED = (SETUP, DIAGNOSIS, COUNTERFACTUAL)
