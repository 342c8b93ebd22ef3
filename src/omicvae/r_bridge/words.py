"""Messages in the words of R: calls, columns and constants as an R user writes them."""

import re

#: pattern → what stands for it in R, in this order
WORDS: tuple[tuple[str, str], ...] = (
    (r"adata\.obs has no column", "The cells have no column"),
    (r"adata\.obs\[('[^']*')\]\.astype\(str\)", r"as.character(x$\1)"),
    (r"adata\.obs\[('[^']*')\]", r"the column \1"),
    (r"\bobs\[('[^']*')\]", r"The column \1"),
    (r"\badata\.layers\[('[^']*')\]", r"the assay \1"),
    (r"\badata\.X\b", "x"),
    (r"adata\.copy\(\)", "x"),
    (r"\badata\.var_names\b", "rownames(x)"),
    (r"\badata\.obs_names\b", "colnames(x)"),
    (r"\bvar_names\b", "gene names"),
    (r"\bobs_names\b", "cell names"),
    (r"Columns: ", "Its columns: "),
    (r"CVAE\.setup_anndata\((?:adata, )?\.\.\.\)", "cvae(x, ...)"),
    (r"CVAE\.setup_anndata\(\)|setup_anndata\(\)", "cvae()"),
    (r"\bCVAE\.load\(path, adata=adata\)", "load_cvae(folder, x)"),
    (r"\b(?:ov\.)?CVAE\(adata(?:, \.\.\.)?\)", "cvae(x)"),
    (r"\b(?:ov\.)?CVAE\(\)", "cvae()"),
    (r"\bmodel\.train\(", "train_further(fit, "),
    (r"\btrain\((?!\))", "train_further(fit, "),
    (r"\btrain\(\)", "cvae()"),
    (r"\bmodel\.(\w+)\(", r"\1(fit, "),
    (r"get_latent_representation\(\)", "latent()"),
    (r"get_latent_representation\((?:adata, )?", "predict(fit, newdata, "),
    (r"get_normalized_expression\(", "normalized_expression("),
    (r"diagnose_history\(", "diagnose_log("),
    (r"\bov\.|\bomicvae\.(?=stability|rescue)", ""),
    (r"\b(\w+)_key=", r"\1="),
    (r"\bcategorical_covariate_keys\b", "covariates"),
    (r"\bcontinuous_covariate_keys\b", "continuous"),
    (r"pass them in adata\b", "pass them as newdata"),
    (r"\b(batch|labels|replicate)_key\b", r"\1"),
    (r"\bsize_factor_key\b", "size_factor"),
    (r"\boverwrite=True", "overwrite = TRUE"),
    (r"\badata=", "newdata = "),
    (r"\badata\b", "x"),
    (r"\bAnnData\b", "object"),
    (r"\bTrue\b", "TRUE"),
    (r"\bFalse\b", "FALSE"),
    (r"\bNone\b", "NULL"),
    (r"\bNaN\b", "NA or NaN"),
    (r", \)", ")"),
)


def in_r_words(text: str) -> str:
    """Return a message with R's words for Python's."""
    for pattern, words in WORDS:
        text = re.sub(pattern, words, text)
    return text
