"""Tables in Markdown, and the part of a page that a command writes."""

from collections.abc import Sequence


def table_row(cells: Sequence[str]) -> str:
    """Return one line of a table, without its line end."""
    return f"| {' | '.join(cells)} |"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a whole table; its last line ends as well."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"{table_row(line)}\n" for line in lines)


def with_section(page: str, start: str, end: str, content: str) -> str:
    """Return a page with `content` between its lines `start` and `end`; text around it stays.

    A page without these lines gets them, and the content between them, at its end.
    """
    before, _, rest = page.partition(start)
    after = rest.partition(end)[2] or "\n"
    return f"{before.rstrip()}\n\n{start}\n\n{content}\n{end}{after}"
