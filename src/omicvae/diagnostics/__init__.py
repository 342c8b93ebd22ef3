"""Diagnosis of a fitted VAE from arrays and curves: checks, verdict, remedies."""

from omicvae.diagnostics.base_diagnosis import BaseDiagnosis
from omicvae.diagnostics.curve_statistics import CurveStatistics
from omicvae.diagnostics.decoder_use import DecoderUse, decoder_use, permute_within_strata
from omicvae.diagnostics.diagnosis import Diagnosis, diagnose
from omicvae.diagnostics.embedding import EmbeddingCheck, EmbeddingScore, umap_check
from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.evidence_table import Row, evidence_table
from omicvae.diagnostics.excess_kl import ExcessKL
from omicvae.diagnostics.information import Information, information
from omicvae.diagnostics.inputs import DiagnosisInputs
from omicvae.diagnostics.measurements import Measurements, measure
from omicvae.diagnostics.null_model import GainOverNull, gain_over_null
from omicvae.diagnostics.prior_mismatch import PriorMismatch, prior_mismatch
from omicvae.diagnostics.probing import Leakage, Probes, leakage, probe_latents
from omicvae.diagnostics.remedies import Remedy
from omicvae.diagnostics.rules import Judgement, Rule, judge
from omicvae.diagnostics.structure import Structure, structure
from omicvae.diagnostics.tempering import POWERS, Tempering, tempered, tempering
from omicvae.diagnostics.umap import umap_coordinates
from omicvae.diagnostics.usage import LatentUsage, latent_usage
from omicvae.diagnostics.verdict import RULES

__all__ = [
    "POWERS",
    "RULES",
    "BaseDiagnosis",
    "CurveStatistics",
    "DecoderUse",
    "Diagnosis",
    "DiagnosisInputs",
    "EmbeddingCheck",
    "EmbeddingScore",
    "Estimate",
    "ExcessKL",
    "GainOverNull",
    "Information",
    "Judgement",
    "LatentUsage",
    "Leakage",
    "Measurements",
    "PriorMismatch",
    "Probes",
    "Remedy",
    "Row",
    "Rule",
    "Structure",
    "Tempering",
    "decoder_use",
    "diagnose",
    "evidence_table",
    "gain_over_null",
    "information",
    "judge",
    "latent_usage",
    "leakage",
    "measure",
    "permute_within_strata",
    "prior_mismatch",
    "probe_latents",
    "structure",
    "tempered",
    "tempering",
    "umap_check",
    "umap_coordinates",
]
