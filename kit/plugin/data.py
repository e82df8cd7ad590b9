"""For `DatasetSpec.index` and `DatasetSpec.external`: the index, csv files of the raw data, names of many files."""

from kit.data.external import table_of
from kit.data.file_names import FileNames
from kit.data.index import Index, groups_of, numbers_of, read_table
from kit.task import BINARY, MULTICLASS, MULTILABEL

__all__ = [
    "BINARY",
    "MULTICLASS",
    "MULTILABEL",
    "FileNames",
    "Index",
    "groups_of",
    "numbers_of",
    "read_table",
    "table_of",
]
