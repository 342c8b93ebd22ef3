"""Where omicvae writes in an AnnData object; the only file that spells these names."""

LATENT = "X_omicvae"
LATENT_SD_SUFFIX = "_sd"
UMAP = "X_omicvae_umap"
UNS = "omicvae"
SETUP = "setup"
DIAGNOSIS = "diagnosis"
GENERATION = "generation"
EXPRESSION = "expression"
RESERVED = (SETUP, DIAGNOSIS, GENERATION, EXPRESSION)
