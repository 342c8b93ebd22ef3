"""Print the table of ``results/held_out_elbo.json`` as Markdown, for README."""

import json

from _common import RESULTS

HEADER = (
    "| data | role | ELBO omicvae | ELBO SCVI | gain, nats | seconds omicvae | seconds SCVI | times faster |",
    "|---|---|---|---|---|---|---|---|",
)


def main() -> None:
    print("\n".join(HEADER))
    for row in json.loads((RESULTS / "held_out_elbo.json").read_text())["summary"]:
        print(
            f"| {row['data']} | {row['role']} | {row['elbo_omicvae']:.1f} | {row['elbo_scvi']:.1f} "
            f"| {row['gain_nats']:+.1f} | {row['seconds_omicvae']:.1f} | {row['seconds_scvi']:.0f} "
            f"| {row['times_faster']:.0f} |"
        )


if __name__ == "__main__":
    main()
