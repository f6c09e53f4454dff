"""How the page of a story looks, on a screen and on paper."""

from __future__ import annotations

STYLE = """
body { max-width: 76rem; } h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } code { font-size: .92em; }
a { color: inherit; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: 1rem 0; font-size: .9rem; }
th { font-weight: 600; font-size: .82rem; opacity: .75; } td { font-size: .9rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; }
.tile { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .9rem; font-size: .85rem; }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.tile.bad b, .status.bad, .rejected .verdict { color: var(--bad); } .status.doubtful { color: var(--doubt); }
.status.good, .accepted .verdict { color: var(--good); }
:root { --bad: #b54400; --doubt: #8a6100; --good: #00704f; --grid: #8883; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff9a5c; --doubt: #f0c050; --good: #4fd3a8; }
  .line[stroke="#0072b2"] { stroke: #56b4e9; } }
.dated td:first-child, .runs td:nth-child(1), .runs td:nth-child(5) { white-space: nowrap; }
figure.plot { background: none; position: relative; margin: .8rem 0; overflow-x: auto; }
figcaption { font-size: .9rem; font-weight: 600; padding-right: 9rem; min-height: 1.6rem; }
figure.plot > svg { display: block; min-width: 34rem; touch-action: pan-y; }
figure.picture > svg { min-width: 0; } figure.picture { flex: 1 1 26rem; max-width: 40rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 0 2rem; }
figure svg text { font: 12px system-ui, sans-serif; fill: var(--ink); text-anchor: middle; }
figure svg text.y { text-anchor: end; }
.axes path { stroke: var(--grid); fill: none; } .frame { fill: none; stroke: var(--line); pointer-events: none; }
.area path { fill: none; vector-effect: non-scaling-stroke; stroke-linejoin: round; stroke-linecap: round; }
.band { fill-opacity: .22; } .zoomed .area image { image-rendering: pixelated; }
.scripted svg .area { cursor: crosshair; } .scripted .picture svg .area { cursor: grab; }
svg:focus { outline: 2px solid #0072b255; } .rubber { fill: #0072b233; stroke: #0072b2; }
.buttons { position: absolute; right: 0; top: 0; font-size: .8rem; font-variant-numeric: tabular-nums; }
.buttons button { font: inherit; width: 1.7rem; background: none; color: inherit; border: 1px solid var(--line);
                  border-radius: .25rem; margin-left: .2rem; cursor: pointer; }
.legend { margin: .1rem 0; font-size: .82rem; display: flex; flex-wrap: wrap; gap: .1rem 1rem;
          padding-left: 4.6rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; margin-right: .35rem;
            vertical-align: -.1rem; }
.picture .legend { padding-left: 0; }
.facts { font-size: .85rem; margin: .2rem 0; overflow-wrap: anywhere; }
.thinned { font-size: .82rem; opacity: .75; margin: .1rem 0; }
.slices { display: flex; flex-wrap: wrap; gap: .8rem; align-items: flex-start; }
.group { display: flex; gap: .5rem; }
.group.again { border: 1px solid var(--line); border-radius: .4rem; padding: .4rem; }
.slice { width: 8.2rem; font-size: .8rem; line-height: 1.3; }
.slice > * { display: block; overflow-wrap: anywhere; }
.slice img { width: 100%; border-radius: .2rem; outline: 2px solid transparent; }
.slice.rejected img { outline-color: var(--bad); } .slice small { opacity: .75; }
details summary { cursor: pointer; font-size: .9rem; } details td { word-break: break-word; }
details table { table-layout: fixed; width: 100%; } details td:first-child { width: 16rem; opacity: .8; }
@media print {
  :root { --bad: #a03c00; --doubt: #7a5600; --good: #006045; }
  nav, .buttons { display: none; } figure.plot { overflow: visible; } figure.plot > svg { min-width: 0; }
  .slices, .group { break-inside: auto; } .slice { break-inside: avoid; width: 3.2cm; }
  .tile { break-inside: avoid; }
  figure.picture { max-width: 12cm; } td, th { padding-right: .6rem; } td { font-size: 8.5pt; }
  h3 + p { break-after: avoid; }
  * { print-color-adjust: exact; }
}
"""
