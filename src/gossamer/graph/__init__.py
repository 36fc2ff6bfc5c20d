"""The graph that passes work on: tracing, its specification, its layers and cost, its weight transforms."""

from gossamer.graph.channels import (
    ChannelGroup,
    Channels,
    Member,
    analyse,
    channel_groups,
    explain_channels,
)
from gossamer.graph.cost import Cost, LayerCost, cost
from gossamer.graph.edit import (
    ResidualBlock,
    put_back,
    remove_blocks,
    remove_units,
    residual_blocks,
)
from gossamer.graph.journal import Note, note, record
from gossamer.graph.layers import Layer, layers
from gossamer.graph.module import Graph, Input, module_of, source_line
from gossamer.graph.passes import Pass
from gossamer.graph.serialize import fingerprint, from_state, to_state
from gossamer.graph.shapes import shapes
from gossamer.graph.spec import check
from gossamer.graph.trace import trace
from gossamer.graph.transform import (
    WeightTransform,
    add_transform,
    effective,
    original,
    replace_transform,
    represent,
    transformed_weights,
    transforms,
)

__all__ = [
    "ChannelGroup",
    "Channels",
    "Cost",
    "Graph",
    "Input",
    "Layer",
    "LayerCost",
    "Member",
    "Note",
    "Pass",
    "ResidualBlock",
    "WeightTransform",
    "add_transform",
    "analyse",
    "channel_groups",
    "check",
    "cost",
    "effective",
    "explain_channels",
    "fingerprint",
    "from_state",
    "layers",
    "module_of",
    "note",
    "original",
    "put_back",
    "record",
    "remove_blocks",
    "remove_units",
    "replace_transform",
    "represent",
    "residual_blocks",
    "shapes",
    "source_line",
    "to_state",
    "trace",
    "transformed_weights",
    "transforms",
]
