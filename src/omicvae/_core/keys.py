"""Where omicvae writes in an AnnData object; the only file that spells these names."""

LATENT = "X_omicvae"
LATENT_SD_SUFFIX = "_sd"
UMAP = "X_omicvae_umap"
UNS = "omicvae"
SETUP = "setup"
DIAGNOSIS = "diagnosis"
GENERATION = "generation"
EXPRESSION = "expression"
COUNTERFACTUAL = "counterfactual"
#: of minified cells, as scvi-tools names them; and what says of which weights their latents are
MINIFY_TYPE = "_scvi_adata_minify_type"
POSTERIOR_MEAN, POSTERIOR_VARIANCE = "X_latent_qzm", "X_latent_qzv"
LIBRARY = "observed_lib_size"
MINIFIED = "minified"
RESERVED = (SETUP, DIAGNOSIS, GENERATION, EXPRESSION, COUNTERFACTUAL, MINIFIED)
