"""For `DatasetSpec.index` and `DatasetSpec.external`: the index, csv files of the raw data, image files by name."""

from kit.data.external import external_files, table_of
from kit.data.file_names import FileNames, find_images
from kit.data.index import Index, groups_of
from kit.image_files import base_of, data_files, image_files, without_ending
from kit.tables import numbers_of, read_table, refuse_repeated, repeated
from kit.task import BINARY, MULTICLASS, MULTILABEL, ORDINAL, REGRESSION

__all__ = [
    "BINARY",
    "MULTICLASS",
    "MULTILABEL",
    "ORDINAL",
    "REGRESSION",
    "FileNames",
    "Index",
    "base_of",
    "data_files",
    "external_files",
    "find_images",
    "groups_of",
    "image_files",
    "numbers_of",
    "read_table",
    "refuse_repeated",
    "repeated",
    "table_of",
    "without_ending",
]
