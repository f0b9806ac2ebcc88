"""One HTML page that needs nothing beside it: text, tables, embedded images; for wide and narrow windows and print."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { --ink: #1b1b1b; --faint: #5c5c5c; --line: #d5d5d5; --pass: #00608f; --fail: #b34700; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; color: var(--ink); background: #fff;
       max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
.lead { font-size: 1.1rem; margin: .5rem 0 1rem; }
.faint, figcaption { color: var(--faint); font-size: .92rem; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.2rem; font-size: .93rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--faint); }
td { overflow-wrap: anywhere; }
.pass { color: var(--pass); font-weight: 700; white-space: nowrap; }
.fail { color: var(--fail); font-weight: 700; white-space: nowrap; }
.value { white-space: nowrap; }
figure { margin: 1.5rem 0 2rem; }
figure h3 { font-size: 1rem; margin: 0 0 .4rem; }
figure img { display: block; width: 100%; height: auto; }
figure.small img { max-width: 44rem; }
figcaption { margin-top: .4rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .82rem; background: #f6f6f6; padding: .8rem; }
@media screen and (max-width: 44rem) {
  body { padding: 1rem .8rem 3rem; }
  .wide thead { display: none; }
  .wide tr { display: block; border-bottom: 1px solid var(--line); padding: .5rem 0; }
  .wide td { display: block; border: 0; padding: .1rem 0; }
  .wide td:not(:first-child)::before { content: attr(data-name) ": "; color: var(--faint); font-weight: 400; }
  .wide td:first-child { font-weight: 600; }
  .scroll { overflow-x: auto; }
  figure:not(.small) img { min-width: 40rem; }
}
@media print {
  body { max-width: none; font-size: 11pt; padding: 0; }
  figure, tr { break-inside: avoid; }
  figure { margin: .8rem 0; }
  figure img, figure.small img { width: auto; max-width: 100%; max-height: 10.5cm; }
  h2 { break-after: avoid; }
}
</style>
</head>
<body>
$body
</body>
</html>
""")


def page(title: str, parts: Iterable[str]) -> str:
    """Return the whole page; ``parts`` are HTML already, the title is text."""
    return PAGE.substitute(title=escape(title), body="\n".join(parts))


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>'


def heading(text: str, level: int = 2) -> str:
    """Return a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def table(
    caption: str, names: Sequence[str], rows: Iterable[Sequence[str]], kinds: dict[str, str] | None = None
) -> str:
    """Return a table; one of more than two columns becomes a list of entries in a narrow window.

    Parameters
    ----------
    caption : plain text
    names : of the columns
    rows : plain text for each column
    kinds : a cell's text → its CSS class
    """
    kinds = kinds or {}
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for row in rows:
        cells = zip(names, row, strict=True)
        lines.append("".join(_cell(name, text, kinds.get(text, "")) for name, text in cells))
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    kind = "wide" if len(names) > 2 else ""
    top = f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
    return f'<table class="{kind}">{top}\n<tbody>{body}</tbody></table>'


def _cell(name: str, text: str, kind: str) -> str:
    return f'<td data-name="{escape(name)}" class="{kind}">{escape(text)}</td>'


def figure(title: str, caption: str, png: bytes, small: bool = False) -> str:
    """Return an embedded image with its title and what is seen in it."""
    data = base64.b64encode(png).decode()
    image = f'<div class="scroll"><img alt="{escape(title)}" src="data:image/png;base64,{data}"></div>'
    kind = "small" if small else ""
    heading = f"<h3>{escape(title)}</h3>"
    return f'<figure class="{kind}">{heading}{image}<figcaption>{escape(caption)}</figcaption></figure>'


def preformatted(text: str) -> str:
    """Return text as it stands."""
    return f"<pre>{escape(text)}</pre>"
