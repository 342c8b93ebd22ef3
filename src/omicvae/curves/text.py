"""Log text: lines with an epoch, Keras' progress lines, tqdm's bars, bare lines of values."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from omicvae.curves.names import EPOCH, STEP, TRAIN, VALIDATION, column_of, log_name
from omicvae.curves.table import Log

Values = dict[str, float]

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NUMBER = r"[-+]?(?:\d{1,60}(?:\.\d{0,60})?|\.\d{1,60})(?:[eE][-+]?\d{1,9})?%?|[-+]?(?:nan|inf(?:inity)?)\b"
# Everything is bounded, and words begin at their beginning only: a line may be a megabyte of anything.
WORD = r"(?<!\w)[A-Za-zβλ_][\w/.β-]{0,59}"
#: "kl=0.05", "val loss: 0.75", "Loss 0.1": up to three words, then a number that no letter follows.
PAIR = re.compile(
    rf"({WORD}(?:[ ]{{1,9}}{WORD}){{0,2}})\s{{0,9}}[:=]?\s{{0,9}}(?<![\w.])({NUMBER})(?!\d|[\w.]*[A-Za-z])",
    re.IGNORECASE,
)
EPOCH_NUMBER = re.compile(r"\bep(?:och)?s?\b[\s:=#\[(]*(\d+)", re.IGNORECASE)
EPOCH_ALONE = re.compile(r"\s*epoch\s+(\d+)\s*/\s*\d+\s*", re.IGNORECASE)
STEP_NUMBER = re.compile(r"\b(?:global[_ ])?(?:step|iter(?:ation)?)\b[\s:=#\[(]*(\d+)", re.IGNORECASE)
BAR = re.compile(r"(?<!\d)\d{1,3}%\|[^|]{0,999}\|\s{0,99}(\d{1,18})/(\d{1,18})")


@dataclass(frozen=True, slots=True)
class TextForm:
    """A form of log text: its name, a line of it, and its parser, which returns no rows for other text."""

    name: str
    example: str
    parse: Callable[[Sequence[str]], list[Values]]


def read_text(text: str) -> Log | None:
    """Read log text in the first form that fits; None where none does."""
    lines = plain_lines(text)
    for form in TEXT_FORMS:
        if rows := form.parse(lines):
            return Log(form.name, rows)
    return None


def plain_lines(text: str) -> list[str]:
    """Lines without colours; every carriage return, with which a bar draws itself anew, starts one.

    Of several drawings of one count on a line the last is kept: the others are no further epochs.
    """
    lines: list[str] = []
    for line in ANSI.sub("", text).replace("\r\n", "\n").split("\n"):
        drawn: dict[object, str] = {}
        for number, part in enumerate(line.split("\r")):
            match = BAR.search(part)
            drawn[match.groups() if match else number] = part
        lines += [part for part in drawn.values() if part.strip()]
    return lines


def parse_values(line: str) -> Values:
    """Every known name with its number, named with its cells: ``{"train loss": 0.87, "train kl": 0.05}``.

    A separate word such as "val" holds until the next such word or ``|``, so that in
    ``val loss=0.75 kl=0.1`` the KL is of validation cells. A per cent sign divides by 100.
    """
    found: Values = {}
    for segment in line.split("|"):
        cells, read_to = "", 0
        for pair in PAIR.finditer(segment):
            before = re.findall(WORD, segment[read_to : pair.end(1)].lower())
            cells = next((word for word in reversed(before) if word in TRAIN or word in VALIDATION), cells)
            read_to = pair.end()
            if name := _known_end(pair[1]):
                known = log_name(name)
                number = float(pair[2].rstrip("%")) / (100 if pair[2].endswith("%") else 1)
                found[f"{cells} {name}" if cells and known and not known.cells else name] = number
    return found


def _known_end(words: str) -> str | None:
    """Return the longest end of the words that is a known name: "step - loss" ends in "loss"."""
    parts = words.split()
    ends = (" ".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if column_of(end) not in ("", EPOCH, STEP)), None)


def _epoch_lines(lines: Sequence[str]) -> list[Values]:
    """Parse lines such as ``epoch 001 | train loss=0.87 … | val loss=0.75``; lines below belong to their epoch."""
    rows: list[Values] = []
    epoch: float | None = None
    for line in lines:
        if number := EPOCH_NUMBER.search(line):
            epoch = float(number[1])
        if epoch is not None and (values := parse_values(line)):
            rows.append({EPOCH: epoch, **values})
    return rows


def _keras(lines: Sequence[str]) -> list[Values]:
    """Parse ``Epoch 3/10`` on a line of its own, then progress lines of which the last counts."""
    return _epoch_lines(lines) if any(EPOCH_ALONE.fullmatch(line) for line in lines) else []


def _tqdm(lines: Sequence[str]) -> list[Values]:
    """Parse bars ``100%|███| 79/79 [00:01<00:00, Loss=66]``, one per epoch or one over all epochs.

    The epoch is the one that the bar names. Without it each bar is an epoch, or, where there is but one bar,
    each of its counts.
    """
    drawn = [(line, int(match[1])) for line in lines if (match := BAR.search(line))]
    if any(EPOCH_NUMBER.search(line) for line, _ in drawn):
        return _epoch_lines(lines)
    counts = np.array([count for _, count in drawn], dtype=np.int64)
    bars = 1 + np.cumsum(np.diff(counts, prepend=-1) <= 0)  # a count that does not rise begins a new bar
    epochs = counts if bars.max(initial=1) == 1 else bars
    rows = [{EPOCH: float(epoch), **parse_values(line)} for (line, _), epoch in zip(drawn, epochs, strict=True)]
    return [row for row in rows if len(row) > 1]


def _step_lines(lines: Sequence[str]) -> list[Values]:
    """Parse ``step 100: loss=0.5`` without any epoch."""
    numbered = ((STEP_NUMBER.search(line), parse_values(line)) for line in lines)
    return [{STEP: float(number[1]), **values} for number, values in numbered if number and values]


def _bare_lines(lines: Sequence[str]) -> list[Values]:
    """Parse ``Loss=66, BCE=60.6, KLD=53.6``: each line counts as an epoch."""
    return [values for line in lines if (values := parse_values(line))]


#: Tried in this order; the first that finds rows reads the whole text.
TEXT_FORMS: tuple[TextForm, ...] = (
    TextForm(
        "log of Keras progress lines", "Epoch 3/10 ⏎ 32/32 - 1s - loss: 0.61 - kl_loss: 0.02 - val_loss: 0.58", _keras
    ),
    TextForm("log of tqdm bars", "100%|████| 79/79 [00:01<00:00, Loss=66, BCE=60.6, KLD=53.6]", _tqdm),
    TextForm("log with epochs", "epoch 001 | train loss=0.87 recon=0.84 kl=0.05 | val loss=0.75", _epoch_lines),
    TextForm("log with steps", "step 100: loss=0.87, recon=0.84, kl=0.05", _step_lines),
    TextForm("list of values", "Loss=66, BCE=60.6, KLD=53.6", _bare_lines),
)
