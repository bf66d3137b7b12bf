"""Datasets in the forms that others read: one module per kind; a kind is a plain callable that does not know of Ray."""
