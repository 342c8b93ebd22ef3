import json
from statistics import median

import pytest

from omicvae.cli import main
from omicvae.cli.bench import METRICS, SIDES, summarise
from omicvae.likelihoods import LIKELIHOODS

TINY = ["bench", "--cells", "200", "--genes", "30", "--epochs", "2"]


@pytest.fixture
def timed_runs():
    """Runs of two repeats: omicvae 3 and 5 times as fast."""
    speeds = {("omicvae", 0): 30.0, ("scvi", 0): 10.0, ("omicvae", 1): 100.0, ("scvi", 1): 20.0}
    return [{"side": side, "repeat": n, **dict.fromkeys(METRICS, speed)} for (side, n), speed in speeds.items()]


def test_ratios_pair_the_runs_of_a_repeat(timed_runs):
    for row in summarise(timed_runs).values():
        assert row == {"omicvae": 65, "scvi": 15, "ratio": 4, "ratio_min": 3, "ratio_max": 5}


def test_every_likelihood_has_a_peer():
    from omicvae.model.speed import COMPARISONS
    from omicvae.model.speed import SIDES as BUILDERS

    assert set(COMPARISONS) == set(LIKELIHOODS) - {"student_t"}  # scvi-tools has none
    assert set(BUILDERS) == set(SIDES)


def test_bench_reports_what_it_ran(tmp_path, capsys):
    path = tmp_path / "speed.json"
    assert main([*TINY, "--repeats", "1", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "200 cells × 30 genes" in printed
    assert "omicvae trained by the explicit step" in printed
    report = json.loads(path.read_text())
    assert [run["side"] for run in report["runs"]] == list(SIDES)
    for run in report["runs"]:
        assert run["n_train"] == 180
        assert len(run["epoch_seconds"]) == 2
        # the first epoch is a warm-up
        assert run["train_cells_per_second"] == pytest.approx(180 / run["epoch_seconds"][1])
        assert sum(run["epoch_seconds"]) <= run["train_seconds"]
        assert run["latent_cells_per_second"] == pytest.approx(200 / median(run["latent_seconds"][1:]))


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["zinb", "poisson", "gaussian", "bernoulli"])
def test_bench_runs_every_likelihood(likelihood, capsys):
    assert main([*TINY, "--repeats", "1", "--likelihood", likelihood]) == 0
    assert likelihood in capsys.readouterr().out


def test_the_clock_leaves_validation_out(monkeypatch):
    from omicvae.training import clock

    ticks = iter([0.0, 10.0, 14.0, 15.0])
    monkeypatch.setattr(clock, "now", lambda: next(ticks))
    epochs = clock.EpochClock()
    hooks = ("on_train_epoch_start", "on_validation_start", "on_validation_end", "on_train_epoch_end")
    for hook in hooks:
        getattr(epochs, hook)(None, None)
    assert epochs.seconds == [11.0]


@pytest.mark.parametrize(
    "wrong", [["--likelihood", "normal"], ["--repeats", "0"], ["--cells", "0"], ["--accelerator", "gpu"]]
)
def test_bench_explains_what_it_cannot_do(wrong, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([*TINY, *wrong]) == 2
    assert capsys.readouterr().err.startswith("omicvae: error:")
