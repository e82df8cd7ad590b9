"""For `DatasetSpec.index` and `DatasetSpec.extra`: the index, tables of the raw data, names of many files."""

from kit.data.extra import table_of
from kit.data.index import Index, read_table
from kit.data.names import FileNames

__all__ = ["FileNames", "Index", "read_table", "table_of"]
