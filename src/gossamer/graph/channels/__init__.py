"""Which dimensions move together, read off the traced graph operator by operator."""

from gossamer.graph.channels.explanation import explain_channels
from gossamer.graph.channels.flow import Flow
from gossamer.graph.channels.groups import ChannelGroup, Channels, Member, analyse, channel_groups
from gossamer.graph.channels.walk import follow

__all__ = [
    "ChannelGroup",
    "Channels",
    "Flow",
    "Member",
    "analyse",
    "channel_groups",
    "explain_channels",
    "follow",
]
