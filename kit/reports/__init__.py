"""Reports: pictures, pages, tables."""
