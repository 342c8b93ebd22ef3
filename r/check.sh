#!/usr/bin/env bash
# Builds the R package, its vignettes with it, and checks it with the R of this machine against the Python of .venv:
# R CMD check without an error or a warning, examples and tests included.
#
#   r/check.sh             with what is here
#   r/check.sh --install   after apt-get has installed what Debian has of what is needed and suggested
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

export RETICULATE_PYTHON="${RETICULATE_PYTHON:-$PWD/.venv/bin/python}"
[[ -x "$RETICULATE_PYTHON" ]] || { echo "There is no Python in .venv: run make install"; exit 1; }

needed=(r-base-core r-cran-reticulate r-cran-matrix r-cran-testthat r-cran-knitr r-cran-rmarkdown pandoc)
suggested=(r-cran-bit64 r-bioc-delayedarray r-bioc-singlecellexperiment r-bioc-summarizedexperiment r-bioc-deseq2
  r-cran-seurat)

install() {
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
  [[ $EUID -eq 0 ]] || apt=(sudo -n "${apt[@]}")
  "${apt[@]}" update
  local there=("${needed[@]}")
  # R loads Python as a library, which Debian's own Python has in a package beside it
  local library
  mapfile -t library < <("$RETICULATE_PYTHON" -c 'import sys; v = sys.version_info
if sys.base_prefix == "/usr": print("libpython%d.%d-dev" % v[:2])')
  suggested+=("${library[@]}")
  for package in "${suggested[@]}"; do
    if apt-cache show "$package" >/dev/null 2>&1; then there+=("$package"); else echo "Debian lacks $package here"; fi
  done
  "${apt[@]}" install -y --no-install-recommends "${there[@]}" >/dev/null
}

if [[ "${1:-}" == --install ]]; then install; fi
command -v R >/dev/null || { echo "There is no R here: install it, or run r/check.sh --install on Debian"; exit 1; }

export LC_ALL=C.UTF-8 OMP_WAIT_POLICY=PASSIVE
# what the machine lacks is skipped by name
export _R_CHECK_FORCE_SUGGESTS_=false
package="$PWD/r/omicvae"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"

Rscript -e 'for (p in c("reticulate", "Matrix", "SingleCellExperiment", "SeuratObject", "DESeq2", "BiocStyle"))
  cat(p, if (requireNamespace(p, quietly = TRUE)) as.character(packageVersion(p)) else "is not here", "\n")' 2>/dev/null
# or all would be skipped
Rscript -e 'if (!reticulate::py_module_available("omicvae.r_bridge"))
  stop("R finds no omicvae in ", Sys.getenv("RETICULATE_PYTHON"))'
R CMD build "$package"
# vignettes ran while the package was built
status=0
R CMD check --no-manual --no-vignettes omicvae_*.tar.gz || status=$?
find omicvae.Rcheck -name 'testthat.Rout*' -exec tail -n 40 {} +
if grep -E '(ERROR|WARNING)$' omicvae.Rcheck/00check.log; then status=1; fi
exit "$status"
