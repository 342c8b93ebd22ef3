"""``CVAE``: the model that users meet, on scvi-tools' base classes. It wires, it does not compute."""

from omicvae.model._cvae import CVAE

__all__ = ["CVAE"]
