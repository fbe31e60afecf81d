"""What a record's bytes may be, and what is said when they are not."""

from __future__ import annotations

import pytest

from service.adapters.codec import JsonDecoder
from service.engine.config import StreamConfig
from service.engine.errors import InvalidRecord

TWO = JsonDecoder(StreamConfig(name="s", features=("cpu", "mem")))
ONE = JsonDecoder(StreamConfig(name="s"))


@pytest.mark.parametrize(
    ("value", "values"),
    [
        (b'{"values":[1,2.5]}', [1.0, 2.5]),
        (b' \n {"values":[1,2.5]} ', [1.0, 2.5]),
        (b'{"values":{"mem":2,"cpu":1}}', [1.0, 2.0]),
        (b'{"more":[1],"values":[1,2]}', [1.0, 2.0]),
        (b"[1,-0.0]", [1.0, -0.0]),
        (b"  [1e3,2]", [1000.0, 2.0]),
    ],
)
def test_values_are_read_in_the_order_of_the_features(value, values):
    assert TWO(value).values == values


@pytest.mark.parametrize("value", [b"7", b" 7.0\n", b"[7]", b'{"values":[7]}'])
def test_one_feature_may_come_bare(value):
    assert ONE(value).values == [7.0]


def test_key_and_timestamp_are_read_where_given():
    decoded = TWO(b'{"key":"a","timestamp":"2026-01-31T12:00:00.5+01:00","values":[1,2]}')
    assert (decoded.key, decoded.timestamp_ms) == ("a", 1769857200500)
    assert TWO(b'{"timestamp":1700000000000,"values":[1,2]}').timestamp_ms == 1_700_000_000_000
    plain = TWO(b"[1,2]")
    assert (plain.key, plain.timestamp_ms) == (None, None)


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        (b"", "", "not JSON"),
        (b"{", "", "not JSON"),
        (b"\xff\xfe", "", "not JSON"),
        (b'{"values":[1,NaN]}', "", "not JSON"),
        (b'{"values":[1,Infinity]}', "", "not JSON"),
        (b'"text"', "values", "neither an array nor an object"),
        (b"null", "values", "neither an array nor an object"),
        (b"true", "values", "neither an array nor an object"),
        (b"{}", "values", "missing"),
        (b'{"values":null}', "values", "neither an array nor an object"),
        (b'{"values":"1,2"}', "values", "neither an array nor an object"),
        (b'{"values":[]}', "values", "has 0 numbers; the stream has 2 (cpu, mem)"),
        (b"[1,2,3]", "values", "has 3 numbers"),
        (b"3", "values", "has 1 numbers"),
        (b'{"values":[1,null]}', "values.mem", "not a finite number"),
        (b'{"values":[true,1]}', "values.cpu", "not a finite number"),
        (b'{"values":["1",1]}', "values.cpu", "not a finite number"),
        (b'{"values":{"cpu":1}}', "values.mem", "missing"),
        (b'{"values":{"cpu":1,"mem":2,"disk":3}}', "values.disk", "no such feature"),
        (b'{"values":{"cpu":1,"mem":{}}}', "values.mem", "not a finite number"),
        (b'{"key":7,"values":[1,2]}', "key", "not a text"),
        (b'{"timestamp":"soon","values":[1,2]}', "timestamp", "not a time"),
        (b'{"timestamp":true,"values":[1,2]}', "timestamp", "neither a text nor a number"),
        (b'{"timestamp":1e300,"values":[1,2]}', "timestamp", "outside the years"),
        (b"[1,2] [3,4]", "", "not JSON"),
        (b"[" * 100_000, "", ""),
        (b"[1,1e400]", "", ""),
    ],
)
def test_what_cannot_be_read_is_named(value, field, reason):
    with pytest.raises(InvalidRecord) as caught:
        TWO(value)
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert len(caught.value.value or "") < 200
