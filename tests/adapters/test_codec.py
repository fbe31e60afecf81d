"""What a record's bytes may be, and what is said when they are not."""

from __future__ import annotations

import math

import pytest

from service.adapters.codec import JsonDecoder, decoder_for
from service.engine.config import DECODERS, StreamConfig
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
        (b"", "", "empty: a tombstone"),
        (b" \n", "", "empty: a tombstone"),
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
        (b"[1,1e400]", "values.mem", "not a finite number"),
        (b'{"timestamp":1e400,"values":[1,2]}', "timestamp", "neither a text nor a number"),
    ],
)
def test_what_cannot_be_read_is_named(value, field, reason):
    with pytest.raises(InvalidRecord) as caught:
        TWO(value)
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert len(caught.value.value or "") < 200


def texts(others) -> dict[str, str]:
    return {name: bytes(raw).decode() for name, raw in (others or {}).items()}


def test_other_fields_are_kept_as_they_came():
    assert TWO(b'{"values":[1,2],"key":"a","timestamp":1}').others is None
    value = '{"n":1.50,"values":[1,2],"big":123456789012345678901,"o":{"a": [null]},"é":"\\u00e9"}'
    decoded = TWO(value.encode())
    assert decoded.values == [1.0, 2.0]
    assert list(texts(decoded.others).items()) == [
        ("n", "1.50"),
        ("big", "123456789012345678901"),
        ("o", '{"a": [null]}'),
        ("é", '"\\u00e9"'),
    ]


def test_other_fields_hold_no_line_breaks():
    others = TWO(b'{\n "values": [1, 2],\r\n "o": {\n "a": 1.50\n }\n}').others
    assert texts(others) == {"o": '{"a":1.50}'}


@pytest.mark.parametrize("field", [b'"a":"\xff"', b'"\xff":1', b'"a":01', b'"a":"\\ud800"'])
def test_other_fields_that_are_no_json_make_the_record_invalid(field):
    with pytest.raises(InvalidRecord) as caught:
        TWO(b'{"values":[1,2],%b}' % field)
    assert "not JSON" in caught.value.reason


NAMED = {name: decoder_for(StreamConfig(name="s", decoder=name)) for name in DECODERS}
FLAT, LIST, NUMBER, LOOSE = b'{"values":[7]}', b"[7]", b" 7.0 ", b"+07."


@pytest.mark.parametrize(
    ("decoder", "reads"),
    [
        ("auto", {FLAT, LIST, NUMBER}),
        ("json", {FLAT}),
        ("array", {FLAT, LIST}),
        ("number", {FLAT, NUMBER, LOOSE}),
        ("csv", {FLAT, NUMBER, LOOSE}),
    ],
)
def test_a_named_decoder_reads_what_it_names_and_flat_json(decoder, reads):
    for value in (FLAT, LIST, NUMBER, LOOSE):
        if value in reads:
            assert NAMED[decoder](value).values == [7.0]
        else:
            with pytest.raises(InvalidRecord):
                NAMED[decoder](value)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "value", [b"", b" ", b"\xff\x00\x00\x00\x01binary", b"\x00", b"text", b"<x/>"]
)
def test_no_decoder_reads_tombstones_and_foreign_bytes(decoder, value):
    with pytest.raises(InvalidRecord) as caught:
        NAMED[decoder](value)
    assert caught.value.reason.startswith("empty") == (not value.strip())


CSV = decoder_for(StreamConfig(name="s", features=("cpu", "mem"), decoder="csv"))


@pytest.mark.parametrize("value", [b"1,2.5", b" 1 , +2.5\r\n", b'"1","2.5"', b"1e0,.25e1\n"])
def test_a_line_of_numbers_is_read(value):
    decoded = CSV(value)
    assert (decoded.key, decoded.timestamp_ms, decoded.values) == (None, None, [1.0, 2.5])


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        (b"1", "values", "has 1 numbers; the stream has 2 (cpu, mem)"),
        (b"1,2,3", "values", "has 3 numbers"),
        (b"1;2", "values", "has 1 numbers"),
        (b"1,", "values.mem", "not a finite number"),
        (b"1,x", "values.mem", "not a finite number"),
        (b"nan,1", "values.cpu", "not a finite number"),
        (b"1_0,1", "values.cpu", "not a finite number"),
        (b"1,inf", "values.mem", "not a finite number"),
        (b"1,2\n3,4", "", "2 lines; a record has one"),
        (b'1,"2', "", "not CSV"),
        (b"1,\xef\xbc\x92", "", "neither numbers nor flat JSON"),
        (b"[1,2]", "values.cpu", "not a finite number"),
        (b'{"values":[1]}', "values", "has 1 numbers"),
    ],
)
def test_what_is_no_line_of_numbers_is_named(value, field, reason):
    with pytest.raises(InvalidRecord) as caught:
        CSV(value)
    assert caught.value.field == field and reason in caught.value.reason


def gappy(decoder: str):
    return decoder_for(
        StreamConfig(name="s", features=("cpu", "mem"), decoder=decoder, missing="zero")
    )


@pytest.mark.parametrize(
    ("decoder", "value"),
    [
        ("auto", b"[1,null]"),
        ("json", b'{"values":[1,null]}'),
        ("json", b'{"values":{"cpu":1,"mem":null}}'),
        ("json", b'{"values":{"cpu":1}}'),
        ("json", b'{"values":{"cpu":1},"more":[2]}'),
        ("csv", b"1,"),
        ("csv", b"1, NaN"),
        ("csv", b'{"values":[1,null]}'),
    ],
)
def test_a_gap_is_read_where_the_stream_allows_it(decoder, value):
    first, second = gappy(decoder)(value).values
    assert first == 1.0 and math.isnan(second)
    strict = decoder_for(StreamConfig(name="s", features=("cpu", "mem"), decoder=decoder))
    with pytest.raises(InvalidRecord) as refused:
        strict(value)
    assert refused.value.field == "values.mem"


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b'{"values":[1,"2"]}', "values.mem"),
        (b'{"values":[1]}', "values"),
        (b'{"values":{"cpu":1,"disk":2}}', "values.disk"),
        (b'{"values":{"cpu":true}}', "values.cpu"),
        (b"[null]", "values"),
        (b'{"key":1,"values":[1,null]}', "key"),
    ],
)
def test_a_gap_excuses_nothing_else(value, field):
    with pytest.raises(InvalidRecord) as refused:
        gappy("auto")(value)
    assert refused.value.field == field
