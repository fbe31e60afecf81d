"""Nothing undocumented: the README's tables are what the code says, word for word.

`rcf reference settings|endpoints|metrics|problems` prints each table as it must stand there.
"""

from pathlib import Path

import pytest

from service.cli.app import Reference
from service.cli.reference import table

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.parametrize("what", list(Reference))
def test_the_readme_holds_the_table(what):
    text = README.read_text("utf-8")
    missing = [line for line in table(what).splitlines() if line not in text]
    assert not missing, f"paste the output of `rcf reference {what}` into README.md"


@pytest.mark.parametrize("what", list(Reference))
def test_the_readme_lists_nothing_that_is_gone(what):
    lines = table(what).splitlines()
    rows = README.read_text("utf-8").splitlines()
    if lines[0] not in rows:
        pytest.skip("the table is not there at all; the test above says so")
    begin = rows.index(lines[0])
    shown = []
    for row in rows[begin:]:
        if not row.startswith("|"):
            break
        shown.append(row)
    assert shown == lines


@pytest.mark.parametrize("what", list(Reference))
def test_every_row_says_something(what):
    for line in table(what).splitlines()[2:]:
        assert all(cell.strip() for cell in line.strip("|").split(" | "))
