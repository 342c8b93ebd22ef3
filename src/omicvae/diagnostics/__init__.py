"""Diagnosis of a fitted VAE from arrays and curves: checks, verdict, remedies."""

from omicvae.diagnostics._diagnosis import Diagnosis, diagnose
from omicvae.diagnostics._statistics import Estimate
from omicvae.diagnostics.curve_statistics import CurveStatistics
from omicvae.diagnostics.decoder_use import DecoderUse, decoder_use, permute_within_strata
from omicvae.diagnostics.embedding import EmbeddingCheck, EmbeddingScore, umap_check, umap_coordinates
from omicvae.diagnostics.evidence import FitEvidence
from omicvae.diagnostics.information import Information, information
from omicvae.diagnostics.measurements import Measurements, measure
from omicvae.diagnostics.mismatch import PriorMismatch, prior_mismatch
from omicvae.diagnostics.null import GainOverNull, gain_over_null
from omicvae.diagnostics.probing import Probes, leakage, probe_latents
from omicvae.diagnostics.remedies import Remedy, remedies_for
from omicvae.diagnostics.structure import Structure, structure
from omicvae.diagnostics.tempering import POWERS, Tempering, tempered, tempering
from omicvae.diagnostics.usage import LatentUsage, latent_usage
from omicvae.diagnostics.verdict import RULES, Judgement, Rule, judge

__all__ = [
    "POWERS",
    "RULES",
    "CurveStatistics",
    "DecoderUse",
    "Diagnosis",
    "EmbeddingCheck",
    "EmbeddingScore",
    "Estimate",
    "FitEvidence",
    "GainOverNull",
    "Information",
    "Judgement",
    "LatentUsage",
    "Measurements",
    "PriorMismatch",
    "Probes",
    "Remedy",
    "Rule",
    "Structure",
    "Tempering",
    "decoder_use",
    "diagnose",
    "gain_over_null",
    "information",
    "judge",
    "latent_usage",
    "leakage",
    "measure",
    "permute_within_strata",
    "prior_mismatch",
    "probe_latents",
    "remedies_for",
    "structure",
    "tempered",
    "tempering",
    "umap_check",
    "umap_coordinates",
]
