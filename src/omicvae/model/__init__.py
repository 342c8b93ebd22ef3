"""``CVAE``: the model that users meet, on scvi-tools' base classes. It wires, it does not compute."""

from omicvae.model.cvae import CVAE
from omicvae.model.rescue_search import Attempt, Rescue, rescue

__all__ = ["CVAE", "Attempt", "Rescue", "rescue"]
