"""The one place that chooses how a fit takes its steps, and says why."""

from collections.abc import Sequence
from typing import Any

import torch

from omicvae.data import CellStore
from omicvae.module import ConditionalVAE
from omicvae.networks.explicit import explicit_obstacle
from omicvae.objective import ScheduledObjective
from omicvae.priors import StandardNormal
from omicvae.training.adam import FlatAdam
from omicvae.training.adversaries import AdversaryTraining
from omicvae.training.autograd_step import AutogradStep
from omicvae.training.explicit_step import ExplicitStep
from omicvae.training.step import Step


def choose_step(
    module: ConditionalVAE,
    optimizer: torch.optim.Optimizer,
    scheduled: ScheduledObjective,
    store: CellStore,
    sizes: Sequence[int],
    adversaries: Sequence[AdversaryTraining] = (),
    *,
    precision: str = "32-true",
    bfloat16_products: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Step, str]:
    """Return the fastest step that covers a fit with minibatches of ``sizes`` cells, and a few words on the choice."""
    reason = obstacle(module, scheduled, sizes, precision)
    if reason is None and isinstance(optimizer, FlatAdam):
        how: dict[str, Any] = {"bfloat16_products": bfloat16_products, "density": store.density}
        step = ExplicitStep(module, optimizer, scheduled, max(sizes), generator=generator, **how)
        return step, "explicit step" + (", products with genes' weights in bfloat16" if bfloat16_products else "")
    autograd = AutogradStep(module, optimizer, scheduled, sum(sizes), adversaries, generator)
    return autograd, f"autograd step: {reason}"


def obstacle(module: ConditionalVAE, scheduled: ScheduledObjective, sizes: Sequence[int], precision: str) -> str | None:
    """Say what of the fit has no explicit form; None for nothing."""
    if module.device.type != "cpu":
        return f"the network is on {module.device}"
    if precision != "32-true" or any(p.dtype != torch.float32 for p in module.parameters()):
        return f"precision {precision} has no explicit form"
    if module.extended:
        return "only what was added to a trained network is learned"
    if not all(p.requires_grad for p in module.parameters()):
        return "some weights are frozen"
    for mlp in (module.encoder.body, module.decoder.body):
        what = explicit_obstacle(mlp)
        if what is not None:
            return f"{what} has no explicit form"
    if any(True for _ in module.covariates.parameters()):
        return "the covariates' encoding is learned"
    if type(module.prior) is not StandardNormal:  # others may have another KL
        return f"the prior {type(module.prior).__name__} has no explicit form"
    if scheduled.phases:
        return f"{' and '.join(scheduled.phases)} beside the bound"
    if scheduled.objective.total_correlation:
        return "total correlation beside the bound"
    if min(sizes) == 1:
        return "a minibatch of one cell"
    return None
