"""Manual pages and completion for shells, made from the verbs' own signatures and docstrings."""
