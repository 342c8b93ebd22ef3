"""Reading HTML pages in tests."""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """Checks that tags are balanced; keeps the text, identifiers and references of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "src", "xlink:href", "action", "srcset"):
                self.references.append(value)
            self.references += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.pieces.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def text_of(page: str) -> str:
    """The text of a page, its white space as single spaces."""
    return re.sub(r"\s+", " ", " ".join(read(page).pieces))


def assert_sound(page: str) -> None:
    """Fail unless the page parses, loads nothing from elsewhere, runs no script, and its identifiers are unique."""
    reader = read(page)
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?://|@import|javascript:", page)
    assert "script" not in reader.tags
    assert len(reader.ids) == len(set(reader.ids))
    known = {f"#{name}" for name in reader.ids}
    for reference in reader.references:
        assert reference in known or reference.startswith("data:"), reference
