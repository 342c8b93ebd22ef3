"""``CVAE``: the model that users meet, on scvi-tools' base classes. It wires, it does not compute."""

from omicvae.model._cvae import CVAE
from omicvae.model._rescue import Rescue, rescue
from omicvae.model.attempt import Attempt

__all__ = ["CVAE", "Attempt", "Rescue", "rescue"]
