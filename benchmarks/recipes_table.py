"""Print the tables of ``docs/recipes.md`` as Markdown, from the results of the scripts that they are named after.

    python benchmarks/recipes_table.py                      # every table whose results exist
    python benchmarks/recipes_table.py objectives --name objectives_quick

Figures are medians over seeds (means in `beta_sweep`); ± is the SD over seeds (the standard error in `beta_sweep`).
A dash stands for what was not measured. What failed is listed below its table.
"""

import argparse
import json
from collections.abc import Callable, Iterator

from _common import RESULTS

DASH = "–"


def number(value: float | None, form: str, sd: float | None = None) -> str:
    """One cell: a figure, with ± where there is a spread."""
    if value is None:
        return DASH
    return f"{value:{form}}" + (f" ± {sd:{form.lstrip('+')}}" if sd is not None else "")


def cell(row: dict, name: str, form: str, spread: bool = False) -> str:
    """One cell of a summary row."""
    return number(row.get(name), form, row.get(f"{name}_sd") if spread else None)


def verdicts(row: dict) -> str:
    """Each verdict once, with its number of seeds where they differ."""
    found = row.get("verdicts", [])
    counts = {verdict: found.count(verdict) for verdict in dict.fromkeys(found)}
    if len(counts) < 2:
        return "".join(f"`{verdict}`" for verdict in counts) or DASH
    return ", ".join(f"`{verdict}` ({count})" for verdict, count in counts.items())


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from (f"| {' | '.join(row)} |" for row in rows)


def errors(rows: list[dict], *by: str) -> Iterator[str]:
    """Lines on what failed."""
    for row in rows:
        for error in row.get("errors", []):
            yield f"failed: {', '.join(str(row[name]) for name in by)}, seed {error[0]}: {' '.join(error[1:])}"


def by_data(rows: list[dict], *by: str) -> Iterator[tuple[str, list[dict]]]:
    """Rows of each value of ``by``, with a title."""
    for key in dict.fromkeys(tuple(row[name] for name in by) for row in rows):
        yield ", ".join(f"`{part}`" for part in key), [row for row in rows if tuple(row[name] for name in by) == key]


#: columns that objectives and vanishing_kl share: head, figure, form, whether with its spread
HEALTH = (
    ("KL", "rate", ".3g", True),
    ("distortion", "distortion", ".1f", False),
    ("held-out ELBO", "elbo_test", ".1f", True),
    ("active", "active", ".0f", False),
    ("gain", "gain_over_null", ".1f", False),
    ("permuted z", "decoder_use", ".1f", False),
    ("probe, draw", "probe_draw", ".2f", False),
    ("probe, means", "probe_means", ".2f", False),
    ("probe, PCA", "probe_pca", ".2f", False),
)


def health(rows: list[dict], first: str, extra: tuple = ()) -> Iterator[str]:
    """Table of one data set: a row per setting."""
    columns = (*HEALTH, *extra)
    body = [[str(row[first]), *(cell(row, *column[1:]) for column in columns), verdicts(row)] for row in rows]
    yield from table([first, *(column[0] for column in columns), "verdict"], body)


def objectives(summary: list[dict]) -> Iterator[str]:
    """One table for each data set."""
    for title, rows in by_data(summary, "data"):
        yield from (title, "")
        yield from health(rows, "setting", (("epochs", "epochs", ".0f", False), ("seconds", "seconds", ".1f", False)))
        yield ""
    yield from errors(summary, "data", "setting")


def vanishing_kl(summary: list[dict]) -> Iterator[str]:
    """One table for each data set and collapsing setting."""
    for title, rows in by_data(summary, "data", "setting"):
        yield from (title, "")
        yield from health(rows, "cure")
        yield ""
    yield from errors(summary, "data", "setting", "cure")


def beta_sweep(summary: list[dict]) -> Iterator[str]:
    """One row for each likelihood and β, and the inversions."""
    body = []
    for row in summary:
        for point in row["points"]:
            figures = [number(point[name], ".2f", point[f"{name}_se"]) for name in ("rate_test", "distortion_test")]
            body.append([f"`{row['data']}`", row["likelihood"], f"{point['beta']:g}", *figures, str(point["n_seeds"])])
    yield from table(["data", "likelihood", "β", "rate", "distortion", "seeds"], body)
    yield ""
    for row in summary:
        found = [f"{step['figure']} at β {step['betas'][0]:g} to {step['betas'][1]:g}" for step in row["inversions"]]
        counted = f"{row['reversed']} of {len(row['steps'])} steps run the wrong way by any amount"
        yield f"`{row['data']}`, {row['likelihood']}: inversions: {'; '.join(found) or 'none'} ({counted})"
        yield from (f"failed: β {entry[0]:g}, seed {entry[1]}: {entry[2:]}" for entry in row["incomplete"])


def adversary(summary: list[dict]) -> Iterator[str]:
    """One row for each data set and arm; probes are of the fitted cells."""
    columns = (
        ("batch, accuracy", "batch_probe", ".2f", True),
        ("majority", "majority", ".2f", False),
        ("closed", "closing_probe", ".0%", True),
        ("closed, 15 neighbours", "closing_probe_knn", ".0%", True),
        ("batch from labels", "batch_from_label", ".2f", False),
        ("labels, balanced", "label_balanced", ".2f", True),
        ("held-out ELBO", "elbo_test", ".1f", True),
        ("change", "elbo_change", "+.1f", True),
    )
    body = []
    for row in summary:
        arm = "without" if row["weight"] is None else f"weight {row['weight']:g}"
        given = "yes" if row["conditioned"] else "no"
        body.append([f"`{row['data']}`", given, arm, *(cell(row, *column[1:]) for column in columns)])
    yield from table(["data", "batch given", "adversary", *(column[0] for column in columns)], body)
    yield ""
    yield from errors(summary, "data", "arm", "weight")


def discriminator(summary: list[dict]) -> Iterator[str]:
    """One row for each data set and arm."""
    columns = (
        ("NLL change", "nll_change", "+.2%", True),
        ("held-out ELBO", "elbo_test", ".1f", True),
        *(
            (f"{kind}, {name}", f"{kind}_{name}", ".2f", True)
            for kind in ("posterior", "prior", "control")
            for name in ("logistic", "boosting")
        ),
        ("seconds", "seconds", ".0f", False),
    )
    body = []
    for row in summary:
        body.append([f"`{row['data']}`", row["arm"], *(cell(row, *column[1:]) for column in columns)])
    yield from table(["data", "discriminator", *(column[0] for column in columns)], body)
    yield ""
    for row in summary:
        if row["arm"] == "with":
            seen = {name: row[name] for name in ("zero_before", "nonzero_after")}
            yield f"`{row['data']}`: loss before and after the start, by seed: {seen}"
    yield from errors(summary, "data", "arm")


TABLES: dict[str, Callable[[list[dict]], Iterator[str]]] = {
    made.__name__: made for made in (vanishing_kl, objectives, beta_sweep, adversary, discriminator)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", choices=TABLES)
    parser.add_argument("--name", help="results/NAME.json (default: that of the table)")
    options = parser.parse_args()
    for name in [options.table] if options.table else list(TABLES):
        path = RESULTS / f"{options.name or name}.json"
        if not path.exists():
            print(f"no results: {path.name}")
            continue
        print(f"<!-- table: {name} -->", *TABLES[name](json.loads(path.read_text())["summary"]), "", sep="\n")


if __name__ == "__main__":
    main()
