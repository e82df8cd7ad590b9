"""For `DatasetSpec.index` and `DatasetSpec.extra`: the index, tables of the raw data, names of many files."""

from kit.data.external import table_of
from kit.data.file_names import FileNames
from kit.data.index import Index, read_table

__all__ = ["FileNames", "Index", "read_table", "table_of"]
