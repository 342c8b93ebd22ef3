"""Messages in the words of R: calls, columns and constants as an R user writes them."""

import re
from collections.abc import Callable

_COLUMN = r"(?:adata\.)?obs\[(?P<name>'[^']*'|\"[^\"]*\")\]"


def _list(found: re.Match[str]) -> str:
    """Turn ``{'a': ..., 'b': ...}`` into ``list(a = ..., b = ...)``."""
    named = re.sub(r"['\"]?(\w+)['\"]?: ", r"\1 = ", found[1])
    return f"list({named})"


#: pattern → what stands for it in R, in this order
WORDS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (
        rf"{_COLUMN} = {_COLUMN.replace('name', 'same')}\.astype\(object\)\.fillna\('missing'\)",
        r"v[is.na(v)] <- 'missing'",
    ),
    (rf"{_COLUMN}\.astype\(str\)", "as.character()"),
    (rf"{_COLUMN}\.clip\(([^()]*), ([^()]*)\)", r"pmin(pmax(v, \2), \3)"),
    (rf"(?<![\w.])(?<!^)(?<!\. ){_COLUMN}", r"the column \g<name>"),
    (_COLUMN, r"The column \g<name>"),
    (r"adata\.obs has no column", "The cells have no column"),
    (r"\badata\.layers\[('[^']*')\]", r"the assay \1"),
    (r"the raw counts are in a layer", "the raw counts are in another assay or layer"),
    (r"if they are in \.raw, use adata\.raw\.to_adata\(\); ", ""),
    (r"\badata\.X\b", "x"),
    (r"adata\.copy\(\)", "x"),
    (r"adata\[:, list\(model\.schema\.gene_names\)\]\.copy\(\)", "x[fit$genes, ]"),
    (r"adata\.obs_names\.get_indexer\(names\)", "match(names, colnames(x))"),
    (r"\badata\.var_names\b", "rownames(x)"),
    (r"\badata\.obs_names\b", "colnames(x)"),
    (r"adata\.var_names_make_unique\(\)", "rownames(x) <- make.unique(rownames(x))"),
    (r"\bvar_names\b", "gene names"),
    (r"\bobs_names\b", "cell names"),
    (r"pandas\.to_numeric", "as.numeric()"),
    (r"CVAE\.setup_anndata\((?:adata, )?layer=\.\.\.\)", "cvae(x, assay = ...)"),
    (r"CVAE\.setup_anndata\((?:adata, )?\.\.\.\)", "cvae(x, ...)"),
    (r"(?:CVAE\.)?\bsetup_anndata\b(?:\(\))?", "cvae()"),
    (r"\bCVAE\.load\(path, adata=adata\)", "load_cvae(folder, x)"),
    (r"\bCVAE\.load\(\)", "load_cvae()"),
    (r"\bCVAE\.load_query_data\(adata, reference\)", "map_query(fit, x)"),
    (r"\b(?:ov\.)?CVAE\(adata\b", "cvae(x"),
    (r"\b(?:ov\.)?CVAE\(\)", "cvae()"),
    (r"\bCVAE\.(?=\w+\()", ""),
    (r"\bmodel\.train\(", "train_further(fit, "),
    (r"\btrain\((?!\))", "train_further(fit, "),
    (r"\btrain\(\)", "cvae()"),
    (r"\bmodel\.(\w+)\(", r"\1(fit, "),
    (r"get_latent_representation\(\)", "latent()"),
    (r"get_latent_representation\((?:adata, )?", "predict(fit, newdata, "),
    (r"get_normalized_expression\(", "normalized_expression("),
    (r"diagnose_history\(", "diagnose_log("),
    (r"\bov\.|\bomicvae\.(?=stability|rescue)", ""),
    (r"\{((?:['\"]?\w+['\"]?: [^{},]+(?:, )?)+)\}", _list),
    (r"\b(to|transform|covariates|within)\['(\w+)'\]", r"\1$\2"),
    (r"pass them in adata\b", "pass them as newdata"),
    (r"\b(\w+)_key=", r"\1="),
    (r"\bcategorical_covariate_keys\b", "covariates"),
    (r"\bcontinuous_covariate_keys\b", "continuous"),
    (r"\b(batch|labels|replicate)_key\b", r"\1"),
    (r"\bsize_factor_key\b", "size_factor"),
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
