"""The page of a Diagnosis: the layers as a table, and every quantized activation as a histogram with its range."""

from __future__ import annotations

import math
from html import escape
from importlib import resources

import torch

from gossamer.numerics.histogram import Histogram
from gossamer.quantize import Diagnosis, LayerDiagnosis

_BARS, _WIDTH, _HEIGHT = 96, 480, 90
_HEAD = ("layer", "bits", "weights, dB", "output, dB", "alone, dB", "saturated", "to try")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Quantization, layer by layer</title>
<style>{style}</style>
</head>
<body>
<div class="page">
<header>
  <p class="eyebrow">gossamer diagnosis</p>
  <h1>Quantization, layer by layer</h1>
  <p class="lede">The network’s outputs are {output} dB above the error of quantization; 6 dB are one bit.</p>
</header>
<main>
<section>
  <h2>What harms most</h2>
  {worst}
</section>
<section>
  <h2>Layers</h2>
  <p>Decibels of the weights, of the layer’s output in the whole quantized network, and of the network’s outputs where
  this layer alone is quantized; the share of the input that saturates.</p>
  <div class="scroll">{table}</div>
</section>
<section>
  <h2>Activations and their ranges</h2>
  <p>How often each value occurs, on a scale of logarithms, zeros left out. What is outside of the dashed lines
  saturates.</p>
  <div class="panels small">{charts}</div>
</section>
</main>
</div>
</body>
</html>
"""


def render_diagnosis(diagnosis: Diagnosis) -> str:
    """One HTML page that needs no other file. The same diagnosis gives the same text."""
    style = resources.files("gossamer.report").joinpath("style.css").read_text(encoding="utf-8")
    charts = "".join(
        _figure(name, histogram, *diagnosis.bounds[name])
        for name, histogram in diagnosis.histograms.items()
        if histogram.width
    )
    listed = "".join(f"<li>{escape(each)}</li>" for each in diagnosis.to_try())
    worst = f'<ol class="plain">{listed}</ol>' if listed else "<p>No layer does harm worth the name.</p>"
    return _PAGE.format(
        style=style,
        output=_decibels(diagnosis.output_db),
        worst=worst,
        table=_table(diagnosis),
        charts=charts,
    )


def _figure(name: str, histogram: Histogram, lower: float, upper: float) -> str:
    range_ = f"integers {lower:.3g} to {upper:.3g}, values {histogram.lower:.3g} to {histogram.upper:.3g}"
    caption = f'<h3>{escape(name)}</h3><span class="muted">{range_}</span>'
    return f"<figure><figcaption>{caption}</figcaption>{_svg(histogram, lower, upper)}</figure>"


def _table(diagnosis: Diagnosis) -> str:
    head = "".join(f"<th>{name}</th>" for name in _HEAD[1:-1])
    head = f'<th class="words">{_HEAD[0]}</th>{head}<th class="words">{_HEAD[-1]}</th>'
    body = "".join(map(_row, diagnosis.layers))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(layer: LayerDiagnosis) -> str:
    decibels = (layer.weight_db, layer.output_db, layer.alone_db)
    cells = (str(layer.bits), *map(_decibels, decibels), f"{layer.saturated:.2%}")
    inner = "".join(f"<td>{cell}</td>" for cell in cells)
    name, advice = escape(layer.name), escape(layer.advice)
    return f'<tr><th scope="row" class="words">{name}</th>{inner}<td class="words long">{advice}</td></tr>'


def _decibels(value: float) -> str:
    return "no error" if math.isinf(value) else f"{value:.1f}"


def _svg(histogram: Histogram, lower: float, upper: float) -> str:
    """Bars of the counts from the least to the greatest value, and a line at each end of the range."""
    left, right = min(histogram.lower, lower), max(histogram.upper, upper)
    step = (right - left) / _BARS
    places = ((histogram.centers - left) / step).long().clamp(0, _BARS - 1)
    counts = torch.zeros(_BARS, dtype=torch.float64).index_add_(0, places, histogram.counts.clamp(min=0))
    heights = (counts + 1).log() / float((counts.max() + 1).log() or 1.0)
    bar = _WIDTH / _BARS
    bars = "".join(
        f'<rect x="{i * bar:.1f}" y="{_HEIGHT - h * _HEIGHT:.1f}" width="{bar:.1f}" height="{h * _HEIGHT:.1f}"/>'
        for i, h in enumerate(heights.tolist())
        if h > 0
    )
    lines = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_HEIGHT}" stroke="currentColor" stroke-dasharray="4 3"/>'
        for x in ((bound - left) / (right - left) * _WIDTH for bound in (lower, upper))
    )
    spoken = f"values from {histogram.lower:.3g} to {histogram.upper:.3g}, range {lower:.3g} to {upper:.3g}"
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%"'
    return f'<svg role="img" aria-label="{spoken}" {size}><g fill="currentColor" opacity="0.6">{bars}</g>{lines}</svg>'
