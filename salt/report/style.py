"""The page's stylesheet: one column of cards on a phone, a calm grid on a desk."""

from salt.report.palette import DARK, LIGHT, PREDICTION, TRUTH, Theme


def stylesheet() -> str:
    """Return the CSS with the palette of both themes."""
    return (
        f":root {{ color-scheme: light dark; --truth: {TRUTH}; --prediction: {PREDICTION};"
        f"{_variables(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{{_variables(DARK)} }} }}\n" + _RULES
    )


def _variables(theme: Theme) -> str:
    names = ("page", "card", "ink", "muted", "line", "accent", "baseline")
    return " ".join(f"--{name}: {getattr(theme, name)};" for name in names)


_RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1160px; margin: 0 auto; padding: 56px 24px 96px; }
h1, h2, h3, p { margin: 0; }
h1 { font-size: 18px; font-weight: 650; }
h2 { font-size: 24px; font-weight: 650; letter-spacing: -.01em; line-height: 1.25; }
h3 { font-size: 16px; font-weight: 650; }
p.lead { color: var(--muted); max-width: 68ch; margin-top: 8px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 22px; font-size: 15px; }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
section { margin-top: 72px; scroll-margin-top: 24px; }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 28px; margin-top: 24px;
}
header { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 8px 24px; }
header p { color: var(--muted); font-size: 15px; }

.hero {
  display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 48px;
  align-items: center; padding: 40px;
}
.hero .label { font-weight: 600; }
.hero .score {
  font-size: clamp(64px, 11vw, 108px); font-weight: 700; line-height: 1.02;
  letter-spacing: -.045em; margin: 6px 0 10px -3px;
}
.hero .interval { font-size: 18px; }
.hero .note { color: var(--muted); font-size: 14px; margin-top: 14px; max-width: 44ch; }
.bars {
  display: grid; grid-template-columns: max-content 1fr max-content; gap: 16px 14px;
  align-items: center; font-size: 15px;
}
.bars .track { position: relative; height: 12px; border-radius: 6px; background: var(--line); }
.bars .bar { height: 100%; border-radius: 6px; background: var(--baseline); }
.bars .bar.ours { background: var(--accent); }
.bars .whisker {
  position: absolute; top: -5px; bottom: -5px; border: solid var(--ink); border-width: 0 1.5px;
}
.bars .whisker::after {
  content: ""; position: absolute; left: 0; right: 0; top: 50%;
  border-top: 1.5px solid var(--ink);
}
.bars .value { font-weight: 600; text-align: right; }
.bars .set { grid-column: 1 / -1; color: var(--muted); font-size: 13px; margin-bottom: -10px; }
.bars .set:not(:first-child) { margin-top: 10px; }

.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 24px;
  margin: 24px 0 0;
}
.facts div { border-top: 2px solid var(--line); padding-top: 10px; }
.facts dt { color: var(--muted); font-size: 14px; }
.facts dd {
  margin: 0; font-size: 22px; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere;
}
.facts dd.long { font-size: 15px; font-weight: 600; letter-spacing: 0; }

.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
th { text-align: left; font-weight: 600; font-size: 13px; color: var(--muted); }
th, td {
  padding: 12px 16px 12px 0; border-bottom: 1px solid var(--line); vertical-align: baseline;
}
td small {
  display: block; color: var(--muted); font-size: 13px; font-weight: 400; line-height: 1.5;
  max-width: 60ch;
}
tbody tr:last-child td { border-bottom: 0; padding-bottom: 0; }
th.number, td.number { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
tr.final td { font-weight: 650; }
.better, .worse, .unclear { font-weight: 600; }
.unclear { color: var(--muted); font-weight: 400; }

.charts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr));
  gap: 24px; margin-top: 24px;
}
.charts figure {
  margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 22px;
}
figcaption { font-size: 14px; color: var(--muted); margin-bottom: 14px; }
figcaption b { display: block; color: var(--ink); font-size: 16px; }
figure img { width: 100%; height: auto; display: block; }

.legend {
  display: flex; flex-wrap: wrap; gap: 10px 28px; margin-top: 20px; font-size: 14px;
  align-items: center;
}
.legend span { display: inline-flex; align-items: center; gap: 8px; }
.swatch { width: 26px; height: 5px; border-radius: 3px; box-shadow: 0 0 0 1px var(--line); }
.ramp { width: 96px; height: 12px; border-radius: 3px; }
.group { margin-top: 36px; }
.group > p { color: var(--muted); font-size: 14px; }
.tile { margin-top: 20px; }
.tile p { font-size: 13px; color: var(--muted); margin-bottom: 6px; }
.tile p b {
  color: var(--ink); font-weight: 600; font-size: 14px; margin-right: 6px;
  overflow-wrap: anywhere;
}
.panels { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 10px; }
.panels figure { margin: 0; }
.panels img { width: 100%; height: auto; display: block; border-radius: 4px; }
.panels.pair { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 18px; }
.panels.pair img { width: auto; max-width: 100%; max-height: 640px; border-radius: 0; }
.panels figcaption { margin: 4px 0 0; font-size: 12px; }
footer { margin-top: 72px; color: var(--muted); font-size: 14px; max-width: 72ch; }

@media (max-width: 760px) {
  main { padding: 28px 16px 64px; }
  section { margin-top: 52px; }
  .card, .charts figure { padding: 18px; }
  .hero { grid-template-columns: minmax(0, 1fr); gap: 30px; padding: 22px 18px 26px; }
  .panels { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 8px; }
  .panels.pair { grid-template-columns: minmax(0, 1fr); }
  .steps thead { position: absolute; clip-path: inset(50%); }
  .steps tr { display: block; padding: 12px 0; border-bottom: 1px solid var(--line); }
  .steps tbody tr:last-child { border-bottom: 0; }
  .steps td {
    display: flex; justify-content: space-between; gap: 16px; border: 0; padding: 2px 0;
  }
  .steps td:first-child { display: block; }
  .steps td[data-label]::before {
    content: attr(data-label); color: var(--muted); font-weight: 400;
  }
  .steps td:empty { display: none; }
  .steps td.number small { display: inline; margin-left: 10px; }
}
@media print { section, .card, .tile, figure { break-inside: avoid; } }
"""
