"""Fewer bits per weight: today weight sharing by k-means."""

from .cluster import Cluster, SharedValues

__all__ = ["Cluster", "SharedValues"]
