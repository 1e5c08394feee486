"""The look of the HTML report: light and dark, wide and narrow, screen and paper."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f7f6f3; --card: #ffffff; --ink: #1d2228; --soft: #5b6470; --line: #e3e1db;
  --teacher: #7a5cc4; --student: #0b8a72; --accent: #0b6e5c; --bar: #4f8fc9; --warn: #8a5a00;
  --warn-ground: #fff6e0; --pixel: #eceae4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --card: #1c2127; --ink: #e8eaed; --soft: #a0a9b4; --line: #323a43;
    --teacher: #b39bf2; --student: #3fcaab; --accent: #58d6b9; --bar: #6aaae4; --warn: #f2c566;
    --warn-ground: #2d2616; --pixel: #262c33;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
header p { margin: 0; }
.eyebrow { color: var(--accent); font-weight: 600; letter-spacing: .02em; }
h1 { font-size: clamp(1.6rem, 4.6vw, 2.6rem); line-height: 1.15; margin: .3em 0 .35em;
  letter-spacing: -.015em; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 0 0 .7em; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 1.6em 0 .6em; }
.subtitle { color: var(--soft); font-size: 1.05rem; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px;
  margin: 28px 0 0; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 18px 20px; }
.figure b { display: block; font-size: 2.1rem; line-height: 1.1; letter-spacing: -.02em;
  color: var(--accent); font-weight: 700; }
.figure.bad b { color: var(--warn); }
.figure span { display: block; font-weight: 600; }
.figure small { display: block; color: var(--soft); font-size: .9rem; margin-top: 4px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 26px 28px; margin-top: 20px; }
.two { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 32px;
  align-items: start; }
table + .two, table + figure, dl + figure { margin-top: 24px; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
th, td { text-align: left; padding: 9px 12px 9px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; font-size: .85rem; }
tbody tr:last-child th, tbody tr:last-child td { border-bottom: 0; }
tbody th { font-weight: 600; white-space: nowrap; }
tbody th small { display: block; color: var(--soft); font-weight: 400; white-space: normal;
  overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
.beaten th, .beaten td { color: var(--soft); }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .5em; }
.dot.teacher { background: var(--teacher); } .dot.student { background: var(--student); }
dl { display: grid; grid-template-columns: fit-content(60%) minmax(0, 1fr);
  gap: 7px 20px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code, .hash { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  font-size: .87em; overflow-wrap: anywhere; }
figure { margin: 0; } figure + figure { margin-top: 22px; }
figcaption { color: var(--soft); font-size: .92rem; margin-top: 8px; }
.samples img { display: block; max-width: 100%; height: auto; border-radius: 8px;
  background: var(--pixel); }
.samples img.small { image-rendering: pixelated; width: 100%; max-width: 560px; }
.notes { background: var(--warn-ground); }
.notes h2 { color: var(--warn); } .notes ul { margin: 0; padding-left: 1.2em; }
.notes li + li { margin-top: .4em; }
.chart { display: block; width: 100%; max-width: 600px; height: auto; overflow: visible; }
.chart text { font-family: inherit; } .label { font-size: 13px; fill: var(--ink); }
.tick { font-size: 12px; fill: var(--soft); } .grid { stroke: var(--line); stroke-width: 1; }
.bar { fill: var(--bar); } .bar.skipped { fill: none; stroke: var(--bar); stroke-dasharray: 3 3; }
.span { fill-opacity: .75; } .whisker { stroke-width: 2; }
.span.teacher { fill: var(--teacher); } .span.student { fill: var(--student); }
.whisker.teacher { stroke: var(--teacher); } .whisker.student { stroke: var(--student); }
.leader { stroke: var(--soft); stroke-width: 1; }
.even { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 5 4; }
.curve { fill: none; stroke: var(--student); stroke-width: 2; stroke-linejoin: round; }
.bubble { stroke-width: 2; fill-opacity: .28; }
.bubble.teacher { fill: var(--teacher); stroke: var(--teacher); }
.bubble.student { fill: var(--student); stroke: var(--student); }
.bubble.beaten { fill: none; stroke-dasharray: 4 3; }
details { margin-top: 14px; } details summary { cursor: pointer; font-weight: 600; }
details table, details dl { margin-top: 12px; }
.advice { margin: 12px 0 0; padding-left: 1.2em; color: var(--warn); }
@media (max-width: 900px) {
  main { padding: 24px 14px 48px; } section { padding: 20px 16px; }
  .two { grid-template-columns: minmax(0, 1fr); gap: 24px; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: 10px; }
  table, tbody, tr, th, td { display: block; } thead { display: none; }
  tr { padding: 10px 0; border-bottom: 1px solid var(--line); } tr:last-child { border-bottom: 0; }
  tbody th, tbody td { border: 0; padding: 2px 0; text-align: left; white-space: normal; }
  td[data-name] { display: flex; justify-content: space-between; gap: 16px; }
  td[data-name]::before { content: attr(data-name); color: var(--soft); flex: none; }
  td[data-name] { text-align: right; } td:empty { display: none; }
}
@media print {
  body { background: #fff; } section, .figure { break-inside: avoid; }
}
"""
