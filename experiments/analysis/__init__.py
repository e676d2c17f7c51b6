"""Which retriever finds what, why, and what the others add: a report from TREC run files. See ``__main__``."""
