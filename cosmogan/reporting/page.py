"""One HTML page that needs nothing beside it: text, tables, embedded images; for wide and narrow windows and print."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1b1b; --faint: #565656; --line: #d5d5d5; --pass: #00608f;
        --fail: #b34700; --note: #fdf1e8; --code: #f6f6f6; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #17191b; --ink: #e6e4e0; --faint: #aaa8a4; --line: #3c3f42; --pass: #74bdec; --fail: #f2a065;
          --note: #352719; --code: #222528; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; color: var(--ink); background: var(--paper);
       max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
.lead { font-size: 1.1rem; margin: .5rem 0 1rem; }
.faint, figcaption { color: var(--faint); font-size: .92rem; }
.warning { border-left: .3rem solid var(--fail); background: var(--note); padding: .6rem .9rem; font-weight: 600; }
a { color: var(--pass); }
nav { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .9rem; margin: 1rem 0; font-size: .93rem; }
nav summary { font-weight: 600; cursor: pointer; }
nav ul { list-style: none; margin: .3rem 0; padding: 0; columns: 3 15rem; }
nav .h3 { padding-left: 1rem; }
.top { position: fixed; right: .8rem; bottom: .8rem; padding: .2rem .7rem; border: 1px solid var(--line);
       border-radius: 1rem; background: var(--paper); text-decoration: none; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.2rem; font-size: .93rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--faint); }
td { overflow-wrap: anywhere; }
.whole { overflow-wrap: normal; white-space: nowrap; }
td:first-child { min-width: 9rem; }
.pass { color: var(--pass); font-weight: 700; }
.fail { color: var(--fail); font-weight: 700; }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem 2rem; align-items: start; }
figure { margin: .8rem 0; min-width: 0; }
figure.wide, figure.alone { grid-column: 1 / -1; }
figure.alone { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; align-items: center; }
figure.alone h3 { grid-column: 1 / -1; }
figure h3 { font-size: 1rem; margin: 0 0 .4rem; }
figure img { display: block; width: 100%; height: auto; background: #fff; border-radius: .3rem; }
.for-phone { display: none !important; }
figure img.moving { width: auto; max-width: 100%; margin-top: .8rem; }
figcaption { margin-top: .4rem; max-width: 52rem; }
figcaption b { color: var(--ink); font-weight: 600; }
.files { white-space: nowrap; }
.zoom { display: block; position: relative; }
.zoom input { position: absolute; opacity: 0; }
.zoom span { display: block; cursor: zoom-in; }
.zoom :focus-visible + span { outline: .15rem solid var(--pass); }
.zoom :checked + span { position: fixed; inset: 0; z-index: 1; overflow: auto; overscroll-behavior: contain;
                        padding: 1rem; background: #fff; cursor: zoom-out; }
.zoom :checked + span img { height: calc(100vh - 2rem); object-fit: contain; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .82rem; background: var(--code); padding: .8rem; }
@media screen and (max-width: 44rem) {
  body { padding: 1rem .8rem 3rem; }
  .figures, figure.alone { display: block; }
  .for-phone { display: block !important; }
  .for-page { display: none !important; }
  .zoom :checked + span .for-phone { display: none !important; }
  .zoom :checked + span .for-page { display: block !important; }
  .zoom :checked + span img { width: 50rem; height: auto; }
  .entries thead { display: none; }
  .entries tr { display: block; border-bottom: 1px solid var(--line); padding: .5rem 0; }
  .entries td { display: block; border: 0; padding: .1rem 0; }
  .entries td:not(:first-child)::before { content: attr(data-name) ": "; color: var(--faint); font-weight: 400; }
  .entries td:first-child { font-weight: 600; }
}
@media print {
  @page { margin: 14mm; }
  body { max-width: none; font-size: 10pt; padding: 0; }
  nav, .top { display: none; }
  figure, tr { break-inside: avoid; }
  tbody tr:first-child { break-before: avoid; }
  .figures { gap: .5rem 1.2rem; }
  h2, h3, caption { break-after: avoid; }
  table { font-size: 9pt; }
  pre { font-size: 7.5pt; }
  a { color: inherit; text-decoration: none; }
}
</style>
</head>
<body id="top">
$body
<a class="top" href="#top" title="to the top">↑</a>
</body>
</html>
""")


CONTENTS = "<!-- contents -->"  # the part of a page where its table of contents is to stand
HEADING = re.compile(r'<h([23]) id="(.*?)">(.*?)</h')


def page(title: str, parts: Iterable[str]) -> str:
    """Return the whole page; ``parts`` are HTML already, the title is text."""
    body = "\n".join(parts)
    return PAGE.substitute(title=escape(title), body=body.replace(CONTENTS, _contents(body), 1))


def _contents(body: str) -> str:
    """Return links to all headings of a page below its title."""
    links = [f'<li class="h{level}"><a href="#{name}">{text}</a></li>' for level, name, text in HEADING.findall(body)]
    return "<nav><details open><summary>Contents</summary><ul>\n" + "\n".join(links) + "\n</ul></details></nav>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>'


def heading(text: str, level: int = 2) -> str:
    """Return a heading to which the table of contents leads."""
    name = re.sub(r"\W+", "-", text.lower()).strip("-")
    return f'<h{level} id="{name}">{escape(text)}</h{level}>'


def table(
    caption: str, names: Sequence[str], rows: Iterable[Sequence[str]], kinds: dict[str, str] | None = None
) -> str:
    """Return a table; one of more than two columns becomes a list of entries in a narrow window.

    Parameters
    ----------
    caption : plain text
    names : of the columns
    rows : plain text for each column
    kinds : how a cell's text begins → its CSS class
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for row in rows:
        cells = zip(names, row, strict=True)
        lines.append("".join(_cell(name, text, kinds or {}) for name, text in cells))
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    kind = "entries" if len(names) > 2 else ""
    top = f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
    return f'<table class="{kind}">{top}\n<tbody>{body}</tbody></table>'


def _cell(name: str, text: str, kinds: dict[str, str]) -> str:
    kind = next((kind for start, kind in kinds.items() if text.startswith(start)), "")
    if "\N{NO-BREAK SPACE}" in text:
        kind = f"{kind} whole".strip()
    return f'<td data-name="{escape(name)}" class="{kind}">{escape(text)}</td>'


@dataclass(frozen=True)
class Exhibit:
    """A figure as the page shows it: texts are plain."""

    name: str  # of its files, and of the place on the page to which links lead
    title: str
    reading: str  # how to read it, and what good looks like
    caption: str
    images: Sequence[bytes]  # PNG files: one; or one as wide as the page, and one for narrow windows
    moving: bytes  # a GIF file below; empty: none
    files: dict[str, str]  # a link's text → a path beside the page

    @property
    def wide(self) -> bool:
        """Whether it takes the page's whole width."""
        return len(self.images) > 1


def figures(exhibits: Iterable[Exhibit]) -> str:
    """Return figures in their order, two beside one another, or a wide one; one below another in a narrow window.

    One that would stand alone in its row has its caption beside it.
    """
    rows: list[list[Exhibit]] = []
    for exhibit in exhibits:
        if not exhibit.wide and rows and len(rows[-1]) == 1 and not rows[-1][0].wide:
            rows[-1].append(exhibit)
        else:
            rows.append([exhibit])
    kinds = {True: "wide", False: "alone"}
    shown = [_figure(exhibit, kinds[exhibit.wide] if len(row) == 1 else "") for row in rows for exhibit in row]
    return '<div class="figures">\n' + "\n".join(shown) + "\n</div>"


def _figure(exhibit: Exhibit, kind: str) -> str:
    title = escape(exhibit.title)
    kinds = ("for-page", "for-phone") if exhibit.wide else ("",)  # <picture> would print the phone's image
    images = "".join(
        f'<img class="{kind}" alt="{title}" src="{_data(image)}">'
        for kind, image in zip(kinds, exhibit.images, strict=True)
    )
    # A hidden checkbox: a click, or the space bar, opens the figure over the whole window and closes it without script.
    opens = f'<label class="zoom"><input type="checkbox" aria-label="{title}, large"><span>{images}</span></label>'
    if exhibit.moving:
        opens += f'<img class="moving" alt="{title}, moving" src="{_data(exhibit.moving, "gif")}">'
    links = " · ".join(f'<a href="{escape(path)}">{escape(text)}</a>' for text, path in exhibit.files.items())
    below = f'<b>{escape(exhibit.reading)}</b> {escape(exhibit.caption)} <span class="files">{links}</span>'
    heading = f'<h3 id="{exhibit.name}">{title}</h3>'
    return f'<figure class="{kind}">{heading}<div>{opens}</div><figcaption>{below}</figcaption></figure>'


def _data(image: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def preformatted(text: str) -> str:
    """Return text as it stands."""
    return f"<pre>{escape(text)}</pre>"
