"""Our default and its peers on test functions, fields and tables of the literature."""
