"""Where the time of a training step goes, beside the least that it must take.

Step: milliseconds of a minibatch, from the median epoch of `throughput.py`'s measure, nothing else running in the
process. Shares: self time per step of torch's 15 dearest operations (of the GPU's kernels on a GPU) in a second
training under torch.profiler, without validation; profiling slows the step, so `profiled_ms` stands beside it, and what
no operation of torch accounts for (Python, NumPy, compiled kernels) is `outside_torch_ms`.

Floor, each measured alone on the same device, median of 50: the matrix products of a step (forward and backward) in
float32 and in bfloat16; one fused Adam update of the parameters; one copy of the bytes that a step touches at least
once (the dense minibatch and its reconstruction, the parameters with gradients and moments). Their sum in float32 is
`floor_ms`.
"""

import json
import warnings
from statistics import median

import torch
from _common import parser, run_child, simulate, write
from throughput import defaults
from torch.profiler import ProfilerActivity, profile

from omicvae.model.speed import COMPARISONS, SIDES, Run, measure
from omicvae.training.clock import now, timed

TOP = 15


def milliseconds(function, repeats: int = 50) -> float:
    """Median time of a call, after three that do not count."""
    for _ in range(3):
        function()
    times = []
    for _ in range(repeats):
        started = now()
        function()
        times.append(1e3 * (now() - started))
    return median(times)


def products(run: Run, n_genes: int) -> list[tuple[int, int, int]]:
    """Return (m, k, n) of the products of a step: a layer's output, its weights' gradient, its input's gradient."""
    first, last = (n_genes, run.n_hidden), (run.n_hidden, n_genes)
    inner = [(run.n_hidden, 2 * run.n_latent), (run.n_latent, run.n_hidden)]
    inner += 2 * (run.n_layers - 1) * [(run.n_hidden, run.n_hidden)]
    b = run.batch_size
    shapes = [shape for i, o in (*inner, last) for shape in ((b, i, o), (o, b, i), (b, o, i))]
    # nobody asks for the gradient of the data
    return [(b, *first), (run.n_hidden, b, n_genes), *shapes]


def floor(run: Run, n_genes: int, sizes: list[torch.Size], device: torch.device) -> dict[str, float]:
    """Milliseconds of what no step can do without."""
    result = {}
    for dtype in (torch.float32, torch.bfloat16):
        pairs = [
            (torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, n, device=device, dtype=dtype))
            for m, k, n in products(run, n_genes)
        ]
        result[f"products_{str(dtype).removeprefix('torch.')}_ms"] = milliseconds(lambda p=pairs: [a @ b for a, b in p])
    parameters = [torch.randn(size, device=device, requires_grad=True) for size in sizes]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    result["adam_ms"] = milliseconds(torch.optim.Adam(parameters, lr=1e-3, fused=True).step)
    n_values = 2 * run.batch_size * n_genes + 4 * sum(size.numel() for size in sizes)
    values, target = torch.randn(n_values, device=device), torch.empty(n_values, device=device)
    result["bytes_ms"] = milliseconds(lambda: target.copy_(values))
    result["floor_ms"] = result["products_float32_ms"] + result["adam_ms"] + result["bytes_ms"]
    return result


def shares(profiler: profile, n_steps: int, device: torch.device) -> list[dict]:
    """Self time of each operation per step, dearest first."""
    timer = "self_cpu_time_total" if device.type == "cpu" else "self_device_time_total"
    rows = [
        {"operation": row.key, "ms": getattr(row, timer) / 1e3 / n_steps, "calls": row.count / n_steps}
        for row in profiler.key_averages()
    ]
    return sorted(rows, key=lambda row: -row["ms"])


def child(side: str, n_cells: int, n_genes: int, density: float, **settings: object) -> dict:
    """Time, profile and compare with the floor."""
    warnings.simplefilter("ignore")
    run = Run(**settings)
    adata = simulate(n_cells, n_genes, density)
    speed = measure(side, adata, run)
    adata.X = COMPARISONS[run.likelihood].values(adata.X)
    model, arguments = SIDES[side](adata, run)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if run.accelerator == "gpu" else [])]
    with profile(activities=activities) as profiler:
        _, seconds = timed(model.train, max_epochs=2, train_size=1.0, accelerator=run.accelerator, **arguments)
    n_steps = 2 * -(-n_cells // run.batch_size)
    device = next(model.module.parameters()).device
    rows = shares(profiler, n_steps, device)
    profiled = 1e3 * seconds / n_steps
    return {
        "step_ms": 1e3 * run.batch_size / speed["train_cells_per_second"],
        "profiled_ms": profiled,
        "outside_torch_ms": profiled - sum(row["ms"] for row in rows),
        **floor(run, n_genes, [parameter.shape for parameter in model.module.parameters()], device),
        "operations": rows[:TOP],
        "threads": speed["threads"],
    }


def show(result: dict) -> None:
    """Print a table."""
    for name, value in result.items():
        if name.endswith("_ms"):
            print(f"{value:10.3f}  {name.removesuffix('_ms')}")
    for row in result.get("operations", []):
        print(f"{row['ms']:10.3f}  {row['calls']:6.1f} × {row['operation']}")
    print(result.get("error", ""), flush=True)


def main() -> None:
    arguments = parser(__doc__, "profile_step")
    arguments.add_argument("--side", choices=SIDES, default="omicvae")
    arguments.add_argument("--likelihoods", nargs="+", choices=COMPARISONS, default=["nb", "zinb"])
    arguments.add_argument("--density", type=float, default=0.05)
    arguments.add_argument("--precision", default="auto", help="of omicvae")
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    base = {**defaults(options.quick, options.accelerator, options.precision), "density": options.density}
    base["n_cells"] = min(base["n_cells"], 8192)
    runs = []
    for likelihood in options.likelihoods:
        runs.append(run_child(__file__, **{**base, "side": options.side, "likelihood": likelihood}))
        print(f"{options.side} {likelihood}, milliseconds per step")
        show(runs[-1])
        write(options.name, runs, accelerator=options.accelerator)


if __name__ == "__main__":
    main()
