"""One HTML page with everything in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --note: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #1b1d20; --line: #444; --note: #453a18; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 64rem;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid var(--line);
         vertical-align: top; overflow-wrap: break-word; }
section { overflow-x: auto; }
.note { background: var(--note); padding: .5rem .8rem; border-radius: .3rem; }
figure { margin: 0; background: #fff; } figure svg { width: 100%; height: auto; }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --line: #ccc; --note: #fff4d6; }
  body { max-width: none; margin: 0; font-size: 10pt; } section { overflow: visible; }
  h2, h3 { break-after: avoid; } figure, tr, .note { break-inside: avoid; }
}
"""


def page(
    title: str,
    time_s: float | None,
    notes: Iterable[str],
    sections: Iterable[tuple[str, str]],
    *,
    lead: str = "",
    style: str = "",
    script: str = "",
) -> str:
    """Return a page; sections are a heading and HTML that is put in as it is, as is `lead`, which stands first."""
    when = "" if time_s is None else datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    noted = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    body = "".join(
        f'<section id="{anchor(heading)}"><h2>{escape(heading)}</h2>{content}</section>\n'
        for heading, content in sections
    )
    scripted = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>\n"
        f"<body><h1>{escape(title)}</h1><p>{escape(when)}</p>{noted}\n{lead}{body}{scripted}</body></html>\n"
    )


def anchor(heading: str) -> str:
    """Return the name of a section's place in the page."""
    return "-".join("".join(c if c.isalnum() else " " for c in heading.lower()).split())


def table(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return a table of text."""
    head = "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>" if header else ""
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{head}{body}</table>"
