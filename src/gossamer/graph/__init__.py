"""The graph that passes work on: tracing, its specification, its layers and cost, its weight transforms."""

from gossamer.graph.journal import Note, note, record
from gossamer.graph.layers import Layer, layers
from gossamer.graph.module import Graph, Input, module_of, source_line
from gossamer.graph.passes import Pass
from gossamer.graph.trace import trace
from gossamer.graph.transform import (
    WeightTransform,
    add_transform,
    original,
    replace_transform,
    represent,
    transformed_weights,
    transforms,
)

__all__ = [
    "Graph",
    "Input",
    "Layer",
    "Note",
    "Pass",
    "WeightTransform",
    "add_transform",
    "layers",
    "module_of",
    "note",
    "original",
    "record",
    "replace_transform",
    "represent",
    "source_line",
    "trace",
    "transformed_weights",
    "transforms",
]
