"""The data set on disk: layout, schema, integrity, and other formats that are read."""
