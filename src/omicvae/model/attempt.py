"""One fit of a rescue."""

from dataclasses import dataclass

import pandas as pd

from omicvae.diagnostics import Diagnosis, Remedy


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One fit of a rescue.

    Attributes
    ----------
    remedy
        What was tried; None for the fit as it was given.
    diagnosis
        What was found.
    elbo
        β = 1 bound of the validation cells, nats per cell; −inf for a fit that diverged.
    history
        Its curves.
    seconds
        Training and diagnosis.
    failure
        Why training failed, else empty.
    """

    remedy: Remedy | None
    diagnosis: Diagnosis
    elbo: float
    history: pd.DataFrame
    seconds: float
    failure: str = ""

    @property
    def sound(self) -> bool:
        """Whether there is nothing to mend."""
        return self.diagnosis.sound

    @property
    def rank(self) -> tuple[bool, float]:
        """What the best has most of: soundness first, then the bound."""
        return self.sound, self.elbo
