"""``python -m omicvae.cli``, for where the script is not on the PATH."""

import sys

from omicvae.cli import main

sys.exit(main())
