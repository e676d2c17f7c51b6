"""Every table as data, by name. Torch-free."""

from experiments.rows import (
    applications,
    cross,
    korean,
    objectives,
    released,
    retrieval,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
    table7,
    writeups,
)
from experiments.rows.row import Row, Table

TABLES: dict[str, Table] = {
    module.TABLE.id: module.TABLE
    for module in (
        table1,
        table2,
        table3,
        table4,
        table5,
        table6,
        table7,
        released,
        objectives,
        cross,
        korean,
        retrieval,
        writeups,
        applications,
    )
}


def row_of(key: str) -> Row:
    """The row of TABLE/ROW."""
    table, _, name = key.partition("/")
    row = TABLES[table].row(name)
    if row is None:
        raise KeyError(key)
    return row


def source_of(key: str) -> str:
    """TABLE/ROW whose runs a row shows: its own, or those of the row it is the same as."""
    return row_of(key).same_as or key
