from __future__ import annotations

from headend.model.place import line_of

TEXT = """\
data = "x"

[web]
port = 80
# host = "commented"
host = "h"

[[object]]
ref = "a"
[[object]]   # the second
"ref" = "b"
emulate.value = 1
"""


def test_lines_of_keys_tables_and_twins() -> None:
    assert line_of(TEXT, key="data") == 1
    assert line_of(TEXT, "web") == 3
    assert line_of(TEXT, "web", 0, "host") == 6
    assert line_of(TEXT, "object", 0, "ref") == 9
    assert line_of(TEXT, "object", 1, "ref") == 11
    assert line_of(TEXT, "object", 1, "emulate") == 12
    assert line_of(TEXT, "object", 1) == 10


def test_what_is_not_there_has_the_line_of_its_table_or_the_first() -> None:
    assert line_of(TEXT, "web", 0, "missing") == 3
    assert line_of(TEXT, "none", 0, "x") == 1
