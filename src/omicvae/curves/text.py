"""Log text: lines with an epoch, Keras' progress lines, tqdm's bars, bare lines of values."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

from omicvae.curves.names import EPOCH, STEP, TRAIN, VALIDATION, WITHOUT_CELLS, column_of, log_name
from omicvae.curves.numbers import BETWEEN, has_decimal_commas, plain_numbers
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
DIGITS = re.compile(r"(\d{1,60})")
#: Lines of longer shapes are not remembered.
LONGEST_SHAPE = 2000
#: A value however it is printed: "gpus 0,1" is none, as it has no known name.
PRINTED = re.compile(
    rf"({WORD}(?:[ ]{{1,9}}{WORD}){{0,2}})\s{{0,9}}[:=]?\s{{0,9}}"
    r"(?<![\w.])([-+]?\d[\d.,]{0,60}(?:[eE][-+]?\d{1,9})?\b)"
)
EPOCH_NUMBER = re.compile(r"\bep(?:och)?s?\b[\s:=#\[(]*(\d+)", re.IGNORECASE)
EPOCH_ALONE = re.compile(r"\s*epoch\s+(\d+)\s*/\s*\d+\s*", re.IGNORECASE)
STEP_NUMBER = re.compile(r"\b(?:global[_ ])?(?:step|iter(?:ation)?)\b[\s:=#\[(]*(\d+)", re.IGNORECASE)
BAR = re.compile(r"(?<!\d)\d{1,3}%\|[^|]{0,999}\|\s{0,99}(\d{1,18})/(\d{1,18})")
#: Place of a minibatch within its epoch: "32/32 [==", "[640/60000 (1%)]", "Step [10/469]"; no date, no "Epoch 3/10".
MINIBATCH = re.compile(r"(?<![\d/.])\d{1,18}/\d{1,18}(?![\d/.])")
EPOCH_OF = re.compile(r"\bep(?:och)?s?\b[\s:=#\[(]*\d+\s*/\s*\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text with the values that it holds, each name with its cells, and the epoch that it names."""

    text: str
    values: Values
    epoch: float | None

    @property
    def counts(self) -> tuple[str, str] | None:
        """Count and total of a bar of tqdm."""
        bar = BAR.search(self.text) if "%" in self.text else None
        return (bar[1], bar[2]) if bar else None

    @property
    def of_minibatch(self) -> bool:
        """Whether the line shows how far an epoch has come."""
        return "/" in self.text and bool(MINIBATCH.search(EPOCH_OF.sub("", self.text)))


@dataclass(frozen=True, slots=True)
class TextForm:
    """A form of log text: its name, a line of it, and its parser, which returns no rows for other text."""

    name: str
    example: str
    parse: Callable[[Sequence[Line]], list[Values]]


def read_text(text: str) -> Log | None:
    """Read log text in the first form that fits; None where none does."""
    lines = list(_within_blocks(plain_lines(text)))
    whole = _without_minibatches(lines)
    for form in TEXT_FORMS:
        if rows := form.parse(lines):
            of_epochs = rows if whole is lines else form.parse(whole)
            return Log(form.name, of_epochs if of_epochs is rows or _covers(of_epochs, rows) else rows)
    return None


def _covers(fewer: Sequence[Values], rows: Sequence[Values]) -> bool:
    """Whether no epoch is lost with the losses of minibatches, in any column that lines of whole epochs hold."""

    def times(read: Sequence[Values]) -> dict[str, set[float]]:
        found: dict[str, set[float]] = {}
        for number, row in enumerate(read):
            for name in row:
                found.setdefault(column_of(name), set()).add(row.get(EPOCH, row.get(STEP, float(number))))
        return found

    kept, read = times(fewer), times(rows)
    return all(len(at) >= len(read[column]) for column, at in kept.items())


def plain_lines(text: str) -> list[str]:
    """Lines without colours; every carriage return, with which a bar draws itself anew, starts one.

    Of several drawings of one count on a line the last is kept: the others are no further epochs.
    """
    lines: list[str] = []
    texts = ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    printed = (line for line in texts if BETWEEN.search(line)) if BETWEEN.search(text) else ()
    values = (pair for line in printed for pair in PRINTED.finditer(line))
    decimal_commas = has_decimal_commas(pair[2] for pair in values if _named(pair[1], ""))
    for line in texts:
        if "\r" not in line:
            lines += [plain_numbers(line, decimal_commas=decimal_commas)] if line.strip() else []
            continue
        drawn: dict[object, str] = {}
        for number, part in enumerate(line.split("\r")):
            match = BAR.search(part)
            drawn[match.groups() if match else number] = part
        lines += [plain_numbers(part, decimal_commas=decimal_commas) for part in drawn.values() if part.strip()]
    return lines


def parse_values(line: str, cells: str = "") -> Values:
    """Every known name with its number, named with its cells: ``{"train loss": 0.87, "train kl": 0.05}``.

    A separate word such as "val" holds until the next such word or ``|``, so that in
    ``val loss=0.75 kl=0.1`` the KL is of validation cells; ``cells`` is such a word of a heading. A per cent sign
    divides by 100.
    """
    parts = DIGITS.split(line)  # text, digits, text, digits …
    shape = "0".join(parts[::2])
    read = _fields if len(shape) <= LONGEST_SHAPE else _fields.__wrapped__
    return {
        name + "".join(parts[in_name]) + after_name: float(sign + "".join(parts[in_number]) + after) / divisor
        for (name, in_name, after_name), (sign, in_number, after), divisor in read(shape, cells)
    }


#: A piece of a line: the text before its first digit, the parts of the line up to its last, and the text after it.
Piece = tuple[str, slice, str]


@lru_cache(maxsize=1024)
def _fields(shape: str, cells: str) -> tuple[tuple[Piece, Piece, int], ...]:
    """Find name, number and divisor of the values in a line whose runs of digits are 0.

    Lines of a log mostly differ in their digits alone.
    """
    found, start, at, counted = [], 0, 0, 0
    for segment in shape.split("|"):
        word, read_to = cells, 0
        for pair in PAIR.finditer(segment):
            word = _last_cells(segment[read_to : pair.end(1)]) or word
            read_to = pair.end()
            if name := _named(pair[1], word):
                at += shape.count("0", counted, start + pair.start(2))
                counted = start + pair.start(2)
                number, divisor = pair[2].rstrip("%"), 100 if pair[2].endswith("%") else 1
                found.append((_piece(name, at - name.count("0")), _piece(number, at), divisor))
        start += len(segment) + 1
    return tuple(found)


def _piece(text: str, first: int) -> Piece:
    """Cut a text whose first run of digits is number ``first`` in its line."""
    before, *after = text.split("0")
    return before, slice(2 * first + 1, 2 * (first + len(after))), after[-1] if after else ""


@cache
def _last_cells(text: str) -> str:
    """Return the last word that names cells; empty where none does."""
    words = (word for word in reversed(re.findall(WORD, text.lower())) if word in TRAIN or word in VALIDATION)
    return next(words, "")


@cache
def _named(words: str, cells: str) -> str | None:
    """Return the longest end of the words that is a known name ("step - loss" ends in "loss"), with its cells."""
    parts = words.split()
    ends = (" ".join(parts[start:]) for start in range(len(parts)))
    name = next((end for end in ends if column_of(end) not in ("", EPOCH, STEP)), None)
    known = log_name(name) if name else None
    return f"{cells} {name}" if cells and known and not known.cells else name


def _within_blocks(lines: Iterable[str]) -> Iterator[Line]:
    """Give values below ``Validation metrics:`` its cells, to the next heading, epoch or end of the indentation."""
    cells, indent, inside = "", 0, False
    for line in lines:
        depth, named = len(line) - len(line.lstrip()), EPOCH_NUMBER.search(line)
        if named or (inside and depth <= indent):
            cells, inside = "", False
        values = parse_values(line, cells)
        if not values and line.rstrip().endswith(":"):
            cells, indent, inside = _last_cells(line), depth, False
        inside = inside or bool(cells and depth > indent)
        # "epochs: 100" among settings alone is the length of the run
        planned = named and named[0].lower().startswith("epochs") and _settings(values) == values
        yield Line(line, values, float(named[1]) if named and not planned else None)


def _without_minibatches(read: Sequence[Line]) -> Sequence[Line]:
    """Drop losses of minibatches where other lines hold those of the epoch: a bar ends with its last minibatch.

    Where these hold the KL they hold all that belongs to it; else a loss gives way to the same loss alone. Without any
    the lines are returned as they are.
    """
    minibatch = [bool(line.values) and line.of_minibatch for line in read]
    if not any(minibatch):
        return read
    held = {column_of(name) for line, part in zip(read, minibatch, strict=True) if not part for name in line.values}
    complete = {cells for cells in ("train", "validation") if f"kl_{cells}" in held}

    def gives_way(name: str) -> bool:
        column = column_of(name)
        return column not in WITHOUT_CELLS and (column in held or column.rpartition("_")[2] in complete)

    return [
        replace(line, values={name: value for name, value in line.values.items() if not gives_way(name)})
        if part
        else line
        for line, part in zip(read, minibatch, strict=True)
    ]


def _settings(values: Values) -> Values:
    return {name: value for name, value in values.items() if column_of(name) in WITHOUT_CELLS}


def _epoch_lines(lines: Sequence[Line]) -> list[Values]:
    """Parse lines such as ``epoch 001 | train loss=0.87 … | val loss=0.75``; lines below belong to their epoch.

    Settings that stand above them all ("β = 4.0") are kept with the first.
    """
    rows: list[Values] = []
    above: Values = {}
    epoch: float | None = None
    for line in lines:
        epoch = epoch if line.epoch is None else line.epoch
        if epoch is None:
            above |= _settings(line.values)
        elif line.values:
            rows.append({EPOCH: epoch, **line.values})
    return [{**above, **rows[0]}, *rows[1:]] if rows else []


def _keras(lines: Sequence[Line]) -> list[Values]:
    """Parse ``Epoch 3/10`` on a line of its own, then progress lines of which the last counts."""
    return _epoch_lines(lines) if any(EPOCH_ALONE.fullmatch(line.text) for line in lines) else []


def _tqdm(lines: Sequence[Line]) -> list[Values]:
    """Parse bars ``100%|███| 79/79 [00:01<00:00, Loss=66]``, one per epoch or one over all epochs.

    The epoch is the one that a line names, or :func:`_epochs_of_bars`. Lines below a bar belong to its epoch.
    """
    counted = [(line, line.counts) for line in lines]
    drawn = [counts for _, counts in counted if counts]
    if not drawn:
        return []
    named = {line.epoch for line in lines} - {None}
    if len(named) > 1 or any(line.epoch is not None for line, counts in counted if counts):
        return _epoch_lines(lines)
    epochs = iter(_epochs_of_bars(drawn))
    rows: list[Values] = []
    epoch = 1.0
    for line, counts in counted:
        epoch = next(epochs) if counts else epoch
        if line.values:
            rows.append({EPOCH: epoch, **line.values})
    return rows


def _epochs_of_bars(drawn: Sequence[tuple[str, str]]) -> list[float]:
    """Epoch of every drawing of a bar, given as count and total.

    A count that does not rise begins a new bar, and each bar is an epoch; other bars, of another total (of validation,
    say), belong to it. Of one bar alone each count is an epoch, and of bars that never come again each is.
    """
    counts, totals = np.array(drawn, dtype=np.float64).T
    begins_of = {total: np.diff(counts[totals == total], prepend=np.inf) <= 0 for total in dict.fromkeys(totals)}
    main = next((total for total, begins in begins_of.items() if begins.sum() > 1), None)
    if main is None and len(begins_of) == 1:
        return list(counts)
    begins = np.diff(totals, prepend=-1) != 0
    if main is not None:
        begins = np.zeros(len(drawn), dtype=bool)
        begins[totals == main] = begins_of[main]
    return [float(max(1, epoch)) for epoch in begins.cumsum()]


def _step_lines(lines: Sequence[Line]) -> list[Values]:
    """Parse ``step 100: loss=0.5`` without any epoch."""
    numbered = ((STEP_NUMBER.search(line.text), line.values) for line in lines)
    return [{STEP: float(number[1]), **values} for number, values in numbered if number and values]


def _bare_lines(lines: Sequence[Line]) -> list[Values]:
    """Parse ``Loss=66, BCE=60.6, KLD=53.6``: an epoch ends where a name comes again."""
    rows: list[Values] = []
    for line in lines:
        if rows and not rows[-1].keys() & line.values.keys():
            rows[-1] |= line.values
        elif line.values:
            rows.append(dict(line.values))
    return rows


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
