"""Data sets, from files on disk to batches; readers are imported when they are used."""

from cnnjax.data.dataset import Dataset as Dataset
from cnnjax.data.dataset import Preparation as Preparation
from cnnjax.data.load import load as load
from cnnjax.data.source import AnnotatedSource as AnnotatedSource
from cnnjax.data.source import Arrays as Arrays
from cnnjax.data.source import Columns as Columns
from cnnjax.data.source import Source as Source
from cnnjax.data.source import Subset as Subset
from cnnjax.data.split import hold_out as hold_out
from cnnjax.data.split import hold_out_last as hold_out_last
