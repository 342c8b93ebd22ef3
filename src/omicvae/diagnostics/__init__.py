"""Diagnosis of a fitted VAE from arrays and curves: checks, verdict, remedies."""

from omicvae.diagnostics.base_diagnosis import BaseDiagnosis, plain
from omicvae.diagnostics.curve_statistics import CurveStatistics, finite_column
from omicvae.diagnostics.decoder_use import decoder_use, permute_within_strata, permuted_draw
from omicvae.diagnostics.diagnosis import Diagnosis, diagnose
from omicvae.diagnostics.discriminator import late_starts
from omicvae.diagnostics.evidence import WIDTH, Check, Row, evidence_table, number, verdict_lines
from omicvae.diagnostics.evidence_file import read_evidence, write_evidence
from omicvae.diagnostics.excess_kl import POWERS, excess_kl, tempered, tempered_bounds
from omicvae.diagnostics.information import information
from omicvae.diagnostics.inputs import DiagnosisInputs, base_measure
from omicvae.diagnostics.measurements import Measurements, measure
from omicvae.diagnostics.null_model import gain_over_null
from omicvae.diagnostics.prior_mismatch import prior_mismatch
from omicvae.diagnostics.probing import stand_in_labels
from omicvae.diagnostics.remedies import Remedy
from omicvae.diagnostics.rules import Rule, judge, ranked_remedies
from omicvae.diagnostics.structure import Structure, structure
from omicvae.diagnostics.umap import umap_check, umap_coordinates
from omicvae.diagnostics.usage import latent_usage
from omicvae.diagnostics.verdict import RULES

__all__ = [
    "POWERS",
    "RULES",
    "WIDTH",
    "BaseDiagnosis",
    "Check",
    "CurveStatistics",
    "Diagnosis",
    "DiagnosisInputs",
    "Measurements",
    "Remedy",
    "Row",
    "Rule",
    "Structure",
    "base_measure",
    "decoder_use",
    "diagnose",
    "evidence_table",
    "excess_kl",
    "finite_column",
    "gain_over_null",
    "information",
    "judge",
    "late_starts",
    "latent_usage",
    "measure",
    "number",
    "permute_within_strata",
    "permuted_draw",
    "plain",
    "prior_mismatch",
    "ranked_remedies",
    "read_evidence",
    "stand_in_labels",
    "structure",
    "tempered",
    "tempered_bounds",
    "umap_check",
    "umap_coordinates",
    "verdict_lines",
    "write_evidence",
]
