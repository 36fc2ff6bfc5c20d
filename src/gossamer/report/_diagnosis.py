"""The page of a Diagnosis: the layers as a table, and every quantized activation as a histogram with its range."""

from __future__ import annotations

import math
from html import escape
from importlib import resources

import torch

from gossamer.numerics.histogram import Histogram
from gossamer.quantize import Diagnosis

_BARS, _WIDTH, _HEIGHT = 96, 480, 90
_HEAD = ("layer", "bits", "weights, dB", "output, dB", "alone, dB", "saturated", "to try")


def render_diagnosis(diagnosis: Diagnosis) -> str:
    """One HTML page that needs no other file. The same diagnosis gives the same text."""
    style = resources.files("gossamer.report").joinpath("style.css").read_text(encoding="utf-8")
    worst = "".join(f"<li>{escape(each.name)}: {escape(each.advice)}</li>" for each in diagnosis.worst())
    charts = "".join(
        f"<figure><figcaption>{escape(name)}</figcaption>{_svg(histogram, *diagnosis.bounds[name])}</figure>"
        for name, histogram in diagnosis.histograms.items()
        if histogram.width
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Quantization, layer by layer</title>'
        f"<style>{style}</style></head><body><main><h1>Quantization, layer by layer</h1>"
        f"<p>The network's outputs: {_decibels(diagnosis.output_db)} dB above the error of quantization. 6 dB are one "
        f"bit; <em>alone</em> is the outputs' where that layer alone is quantized.</p>"
        f"<h2>What harms most</h2><ol>{worst}</ol><h2>Layers</h2>{_table(diagnosis)}"
        f"<h2>Activations and their ranges</h2><p>How often each value occurs (logarithmic, zeros left out); what is "
        f"outside of the marks saturates.</p>{charts}</main></body></html>\n"
    )


def _table(diagnosis: Diagnosis) -> str:
    rows = [
        (
            layer.name,
            str(layer.bits),
            _decibels(layer.weight_db),
            _decibels(layer.output_db),
            _decibels(layer.alone_db),
            f"{layer.saturated:.2%}",
            layer.advice,
        )
        for layer in diagnosis.layers
    ]
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


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
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return f'<svg role="img" aria-label="{spoken}" {size}><g fill="currentColor" opacity="0.6">{bars}</g>{lines}</svg>'
