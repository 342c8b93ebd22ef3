"""Wall seconds of `import omicvae`, `omicvae --help`, first use of `omicvae.CVAE`, and `import scvi`, median of 7.

Each time is that of a whole process, its start included; `python` is a process that does nothing. The commands take
turns, after one round that fills the caches and does not count.
"""

import json
import subprocess
import sys
import time
from statistics import median

from _common import parser, write

COMMANDS = {
    "python": ["-c", ""],
    "import omicvae": ["-c", "import omicvae"],
    "omicvae --help": ["-m", "omicvae.cli", "--help"],
    "omicvae.CVAE": ["-c", "import omicvae; omicvae.CVAE"],
    "import scvi": ["-c", "import scvi"],
}


def seconds(arguments: list[str]) -> float:
    """Run Python once."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    arguments = parser(__doc__, "import_time")
    arguments.add_argument("--repeats", type=int, default=7)
    options = arguments.parse_args()
    runs = []
    for repeat in range(-1, 2 if options.quick else options.repeats):
        for command, parts in COMMANDS.items():
            run = {"command": command, "repeat": repeat, "seconds": seconds(parts)}
            print(json.dumps(run), flush=True)
            runs += [run] if repeat >= 0 else []
    medians = {name: median(run["seconds"] for run in runs if run["command"] == name) for name in COMMANDS}
    print(json.dumps(medians))
    write(options.name, runs, summary=medians, ratio_first_use=medians["import scvi"] / medians["omicvae.CVAE"])


if __name__ == "__main__":
    main()
