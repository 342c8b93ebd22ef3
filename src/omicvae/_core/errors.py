"""Errors of omicvae; each message states the limit, the value and the fix."""


class OmicVAEError(Exception):
    """Base of every error that omicvae raises on purpose."""


class DataError(OmicVAEError, ValueError):
    """The data cannot be used as they are: the message names the rows, genes or columns."""


class SettingError(OmicVAEError, ValueError):
    """A setting is impossible or unknown: the message lists what is possible."""


class NotSupportedError(OmicVAEError, NotImplementedError):
    """The request is not right for this model; the message says why and what to use instead."""


class TrainingError(OmicVAEError, RuntimeError):
    """Training could not go on; the weights before the failure are kept."""


class SavingError(OmicVAEError, OSError):
    """Saving or loading failed; files that existed before are intact."""
