"""Loss curves of any program: readers of logs, and what the curves prove."""

from omicvae.curves.diagnosis import HistoryDiagnosis, diagnose_history
from omicvae.curves.kl_weight import known_weight
from omicvae.curves.read import read_log
from omicvae.curves.rules import HISTORY_RULES

__all__ = ["HISTORY_RULES", "HistoryDiagnosis", "diagnose_history", "known_weight", "read_log"]
