"""Numbers as programs print them: thousands, decimal commas, the words of C for what is not finite."""

import re
from collections.abc import Iterable
from typing import Any

#: A loss beyond it has exploded in any unit, and its square is still a number. Single precision ends at 3.4e38.
LARGEST = 1e100

#: A number with commas inside, and nothing of a number around it. "10:00:00,123" is a time.
COMMAS = re.compile(
    r"(?<![\w.,])(?<!\d:)\d{1,60}(?:[.,]\d{1,60}){0,20},\d{1,60}(?:[.,]\d{1,60}){0,20}(?!(?![eE]\d)[\w.,]?\d)"
)
THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
DECIMAL = re.compile(r"\d+,\d+|[1-9]\d{0,2}(?:\.\d{3})+,\d+")
POINT = re.compile(r"\d+\.\d+|[1-9]\d{0,2}(?:,\d{3})+\.\d+")
#: A comma within a number.
BETWEEN = re.compile(r"\d,\d")
#: "1,152" may be either, and so may "1.152"; with an exponent they are no thousands.
EITHER = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
SIGN_AND_EXPONENT = re.compile(r"[-+]?(.*?)(e[-+]?\d+)?", re.IGNORECASE)
#: Microsoft's and glibc's NaN and infinity: "1.#QNAN", "-1.#IND", "1.#INF", "-nan(ind)".
NOT_FINITE = re.compile(r"(?<![\w.])[-+]?(?:\d\.#(?P<word>INF|[QS]?NAN|IND)\w*|nan\((?:ind|snan)\))", re.IGNORECASE)


def plain_numbers(text: str, *, decimal_commas: bool = False) -> str:
    """Rewrite numbers as Python reads them: ``1,152.9`` → ``1152.9``, ``0,5`` → ``0.5``, ``1.#QNAN`` → ``nan``.

    ``decimal_commas`` says what "1,152" is, which alone may be either.
    """
    if "#" in text or "(" in text:
        text = NOT_FINITE.sub(lambda found: "inf" if (found["word"] or "").upper() == "INF" else "nan", text)
    return COMMAS.sub(lambda found: _plain(found[0], decimal_commas), text) if BETWEEN.search(text) else text


def has_decimal_commas(numbers: Iterable[str]) -> bool:
    """Whether more of the numbers have decimal commas for certain ("0,5", "-1152,9", "1,152e3") than decimal points."""
    parts = (SIGN_AND_EXPONENT.fullmatch(number) for number in numbers)
    certain = [found[1] for found in parts if found and (found[2] or not EITHER.fullmatch(found[1]))]
    return sum(map(bool, map(DECIMAL.fullmatch, certain))) > sum(map(bool, map(POINT.fullmatch, certain)))


def as_number(value: Any) -> float | None:
    """Return a float, inf for what was logged and is not finite (or beyond 1e100), None for what is no number."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        plain = plain_numbers(value) if isinstance(value, str) else value
        return None if plain is value or plain == value else as_number(plain)
    except OverflowError:  # an integer beyond a double
        return float("inf")
    return number if abs(number) <= LARGEST else float("inf")


def _plain(number: str, decimal_commas: bool) -> str:
    if THOUSANDS.fullmatch(number) and not (decimal_commas and EITHER.fullmatch(number)):
        return number.replace(",", "")
    # of several numbers ("1,2,3") nothing is known
    return number.replace(".", "").replace(",", ".") if DECIMAL.fullmatch(number) else number
