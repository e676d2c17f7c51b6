"""Which objective trains on what: names alone, for flags and plans. Torch-free."""

EVERY_TASK = ("text", "sts", "nli", "triplet", "margin", "parallel", "retrieval", "ranking")
# arch -> objective -> the kinds of data it trains on ("nli" data also makes triplets)
OBJECTIVES = {
    "bi": {
        "classification": ("nli",),
        "regression": ("sts",),
        "cosent": ("sts",),
        "triplet": ("triplet", "nli"),
        "margin-mse": ("margin",),
        "distill": ("parallel",),
        "ranking": ("retrieval", "ranking", "triplet", "nli"),
        "mega-batch-margin": ("retrieval", "ranking", "triplet", "nli"),
        "simcse": EVERY_TASK,
        "tsdae": EVERY_TASK,
    },
    "cross": {
        "classification": ("nli",),
        "regression": ("sts",),
        "bce": ("sts",),
        "ranking": ("ranking", "triplet", "nli"),
        "margin-mse": ("margin",),
        "listnet": ("ranking",),
        "lambda": ("ranking",),
    },
}
EVERY_OBJECTIVE = tuple(dict.fromkeys(name for known in OBJECTIVES.values() for name in known))
DEFAULT_OBJECTIVE = {
    "bi": {
        "nli": "classification",
        "sts": "regression",
        "triplet": "triplet",
        "margin": "margin-mse",
        "parallel": "distill",
        "retrieval": "ranking",
        "ranking": "ranking",
        "text": "simcse",
    },
    "cross": {
        "nli": "classification",
        "sts": "bce",
        "triplet": "ranking",
        "ranking": "ranking",
        "margin": "margin-mse",
    },
}
IN_BATCH = (
    "ranking",
    "mega-batch-margin",
)  # objectives of a bi-encoder for which a batch is its own negatives
WITHOUT_LABELS = ("simcse", "tsdae")  # objectives that take any set as its distinct texts
AS_TRIPLETS = ("triplet", *IN_BATCH)  # objectives that take NLI data as (premise, entailment, contradiction)
