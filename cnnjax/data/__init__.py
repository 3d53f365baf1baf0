"""From files on disk to batches; readers and grain are imported when used."""

from .sources import Arrays as Arrays
from .sources import Columns as Columns
from .sources import Dataset as Dataset
from .sources import Source as Source
from .sources import Subset as Subset
from .sources import hold_out as hold_out
from .sources import hold_out_last as hold_out_last
from .sources import load as load
from .sources import prepare as prepare
