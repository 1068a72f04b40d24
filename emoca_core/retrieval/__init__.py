"""Faces by how alike their expressions are: build an index, ask it, measure it."""

from emoca_core.retrieval.build import build_index
from emoca_core.retrieval.figures import figures_table, measure
from emoca_core.retrieval.index import Index, open_index
from emoca_core.retrieval.query import Retriever
from emoca_core.retrieval.search import Neighbours, nearest

__all__ = ["Index", "Neighbours", "Retriever", "build_index", "figures_table", "measure", "nearest", "open_index"]
