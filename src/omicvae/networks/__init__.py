"""Network blocks: covariate encoding, encoder and decoder. They know shapes, not likelihoods or losses."""

from omicvae.networks.blocks import ACTIVATIONS, NORMALIZATIONS
from omicvae.networks.covariates import COVARIATE_ENCODINGS, CovariateEncoding
from omicvae.networks.decoder import Decoder
from omicvae.networks.discriminators import LatentClassifier, RealnessScore
from omicvae.networks.encoder import Encoder

__all__ = [
    "ACTIVATIONS",
    "COVARIATE_ENCODINGS",
    "NORMALIZATIONS",
    "CovariateEncoding",
    "Decoder",
    "Encoder",
    "LatentClassifier",
    "RealnessScore",
]
