"""The progress of a run: a bar in a terminal, a line below the cell of a notebook."""

import html
import time
from typing import Any, Protocol

from rich import get_console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Bar(Protocol):
    """What shows how far a run has come."""

    def start(self, total: int) -> None:
        """Show that nothing is done of ``total`` epochs."""

    def advance(self, text: str) -> None:
        """Show that one more is done, and its ``text``."""

    def stop(self) -> None:
        """Leave the terminal in order; more than once does no harm."""


def progress_bar(shown: bool) -> Bar:
    """Choose the bar: none, that of a notebook (which needs no widgets), or that of a terminal."""
    return NotebookBar() if shown and get_console().is_jupyter else TerminalBar(shown)


class TerminalBar:
    """Percent, bar, time left and losses within 80 columns."""

    def __init__(self, shown: bool = True) -> None:
        columns = (TaskProgressColumn(), BarColumn(bar_width=8), TimeRemainingColumn())
        self._bar = Progress(*columns, TextColumn("{task.description}"), disable=not shown)

    def start(self, total: int) -> None:
        """Show the bar."""
        self._bar.start()
        self._task = self._bar.add_task("", total=total)

    def advance(self, text: str) -> None:
        """Move the bar."""
        self._bar.update(self._task, advance=1, description=text)

    def stop(self) -> None:
        """Show the cursor again."""
        self._bar.stop()


class NotebookBar:
    """The same as one output that is written anew: it stands in the notebook when that is read again."""

    def start(self, total: int) -> None:
        """Put the bar below the cell."""
        from IPython.display import display

        self._total, self._done, self._began = total, 0, time.monotonic()
        self._output: Any = display(self._shown(""), raw=True, display_id=True)

    def advance(self, text: str) -> None:
        """Move the bar."""
        self._done += 1
        self._output.update(self._shown(text), raw=True)

    def stop(self) -> None:
        """Nothing: the last state stays."""

    def _shown(self, text: str) -> dict[str, str]:
        seconds = (time.monotonic() - self._began) * (self._total - self._done) / max(1, self._done)
        left = f"{seconds:.0f} s left" if 0 < self._done < self._total else ""
        line = "  ".join(filter(None, [f"{self._done / max(1, self._total):4.0%}", left, text]))
        bar = f'<progress value="{self._done}" max="{self._total}"></progress>'
        return {"text/plain": line, "text/html": f"<pre>{bar} {html.escape(line)}</pre>"}
