"""Network blocks: covariate encoding, encoder and decoder. They know shapes, not likelihoods or losses.

Weights and biases of a linear map with I inputs start uniform within ±1/√I, those of covariates with C in the place of
I; normalisations start at scale 1 and shift 0; embeddings at N(0, 1). Two places differ: the encoder's log-variance
head starts at zero, and the biases of the decoder's heads are set from the training cells before the first step.
"""

from omicvae.networks.blocks import ACTIVATIONS, NORMALIZATIONS, Dropout, weight_matrices
from omicvae.networks.covariates import COVARIATE_ENCODINGS, CovariateEncoding, covariate_width
from omicvae.networks.decoder import Decoder
from omicvae.networks.discriminators import LatentClassifier, RealnessScore
from omicvae.networks.encoder import LOG_VARIANCE_BOUNDS, Encoder

__all__ = [
    "ACTIVATIONS",
    "COVARIATE_ENCODINGS",
    "LOG_VARIANCE_BOUNDS",
    "NORMALIZATIONS",
    "CovariateEncoding",
    "Decoder",
    "Dropout",
    "Encoder",
    "LatentClassifier",
    "RealnessScore",
    "covariate_width",
    "weight_matrices",
]
