"""What one cell of a CSV file says."""

import math

from service.engine.errors import InvalidRecord
from service.engine.times import parse_time


def to_number(cell: str) -> float | None:
    """The cell as a float (NaN and infinities included), or None."""
    if "_" in cell:  # Python reads 1_000 as a number; nobody writes it into CSV on purpose
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def is_time(cell: str) -> bool:
    """Tell whether the cell is a time as text; of a number nobody could say."""
    if to_number(cell) is not None:
        return False
    try:
        parse_time(cell.strip())
    except InvalidRecord:
        return False
    return True


def is_gap(cell: str) -> bool:
    """Tell whether a value is missing: the cell is empty, or NaN."""
    number = to_number(cell)
    return not cell.strip() if number is None else math.isnan(number)
