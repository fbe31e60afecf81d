"""POST …/records: every format, every way to be wrong, and the law that a body is taken whole."""

import json

import httpx
import pytest

from service.cli.table import choose_columns
from service.engine.config import StreamConfig
from service.engine.times import TIME_NAMES

RECORDS = "/v1/streams/{}/records"


def post(client, stream, body, kind="application/json", **parameters):
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    headers = {} if kind is None else {"Content-Type": kind}
    return client.post(RECORDS.format(stream), content=content, headers=headers, params=parameters)


def problem(answer, status, slug):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:rcf:problem:{slug}"
    assert body["status"] == status
    assert body["title"] and body["detail"]
    return body


def make(client, stream, **fields):
    answer = client.put(f"/v1/streams/{stream}", json=fields)
    assert answer.status_code == 201, answer.text


def stored(client, stream):
    return client.get(f"/v1/streams/{stream}/results").json()["results"]


def test_one_record_gets_its_result(client, stream):
    answer = post(
        client, stream, {"values": [1.5], "key": "a", "timestamp": "2026-01-31T12:00:00Z"}
    )
    assert answer.status_code == 200
    [result] = answer.json()["results"]
    assert result["stream"] == stream
    assert result["key"] == "a"
    assert result["timestamp"] == "2026-01-31T12:00:00.000Z"
    assert result["values"] == [1.5]
    assert result["status"] == "warming"
    assert result["score"] is None and result["grade"] is None
    assert result["anomaly"] is False
    assert {"partition", "offset", "threshold"} <= result.keys()


def test_what_curl_sends_without_a_header_counts_as_json(client, stream):
    answer = post(client, stream, {"values": [1]}, "application/x-www-form-urlencoded")
    assert answer.status_code == 200
    assert post(client, stream, {"values": [1]}, None).status_code == 200


def test_a_batch_answers_in_the_order_given(client, stream):
    records = [{"values": [index], "key": f"k{index % 5}"} for index in range(100)]
    results = post(client, stream, {"records": records}).json()["results"]
    assert [result["values"][0] for result in results] == list(range(100))
    assert [result["key"] for result in results] == [record["key"] for record in records]


def test_scores_appear_after_warming(client, stream):
    make(client, stream, features=1, output_after=10)
    results = post(client, stream, {"records": [{"values": [i]} for i in range(30)]}).json()[
        "results"
    ]
    assert results[0]["status"] == "warming"
    assert results[-1]["status"] == "scored"
    assert results[-1]["score"] is not None


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl; charset=utf-8"])
def test_ndjson(client, stream, kind):
    body = '{"values": {"a": 1, "b": 2}}\n\n{"values": {"b": 4, "a": 3}}\r\n'
    results = post(client, stream, body, kind).json()["results"]
    assert [result["values"] for result in results] == [[1, 2], [3, 4]]


def test_csv_with_header(client, stream):
    body = "timestamp,key,a,b\n2026-01-31T12:00:00Z,x,1,2\n2026-01-31 12:00:01,x,3,4\n"
    results = post(client, stream, body, "text/csv").json()["results"]
    assert [result["values"] for result in results] == [[1, 2], [3, 4]]
    assert [result["key"] for result in results] == ["x", "x"]
    assert results[1]["timestamp"] == "2026-01-31T12:00:01.000Z"
    assert client.get(f"/v1/streams/{stream}").json()["features"] == ["a", "b"]


@pytest.mark.parametrize(
    "header", [*([name, "v"] for name in TIME_NAMES), ["v", "Time"], ["t", "v", "timestamp"]]
)
def test_a_csv_column_of_times_is_known_by_the_names_that_files_are_scored_by(
    client, stream, header
):
    columns = choose_columns(header, ["1"] * len(header), time=None, columns=None)
    row = ["3"] * len(header)
    row[columns.time] = "2026-01-31T12:00:00Z"
    body = f"{','.join(header)}\n{','.join(row)}\n"
    [result] = post(client, stream, body, "text/csv").json()["results"]
    assert result["timestamp"] == "2026-01-31T12:00:00.000Z"
    assert client.get(f"/v1/streams/{stream}").json()["features"] == list(columns.feature_names)


def test_a_feature_may_be_called_as_times_are(client, stream):
    make(client, stream, features=["t", "p"])
    results = post(client, stream, "t,p\n21.5,990\n", "text/csv").json()["results"]
    results += post(client, stream, "time,t,p\n1700000000,21.5,990\n", "text/csv").json()["results"]
    assert [result["values"] for result in results] == [[21.5, 990], [21.5, 990]]
    assert results[1]["timestamp"] == "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize("name", ["key", "Key", "KEY"])
def test_the_csv_column_of_keys_is_known_in_any_case(client, stream, name):
    [result] = post(client, stream, f"{name},v\nroom-1,2\n", "text/csv").json()["results"]
    assert (result["key"], result["values"]) == ("room-1", [2])


def test_a_feature_may_be_called_as_keys_are(client, stream):
    make(client, stream, features=["key", "p"])
    body = "Key,key,p\nroom-1,1,2\n"
    [result] = post(client, stream, body, "text/csv").json()["results"]
    assert (result["key"], result["values"]) == ("room-1", [1, 2])


@pytest.mark.parametrize(
    "line", ["room-1,2026-01-31T12:00:00Z,21.5", "2026-01-31T12:00:00Z,21.5", "room-1,nan"]
)
def test_a_first_line_of_csv_that_looks_like_data_is_no_header(client, stream, line):
    answer = post(client, stream, f"{line}\n{line}\n", "text/csv")
    body = problem(answer, 400, "malformed-body")
    number = line.rpartition(",")[2]
    assert f"line 1 looks like data: {number} is a number" in body["detail"]
    problem(client.get(f"/v1/streams/{stream}"), 404, "stream-not-found")


def test_features_may_be_called_as_numbers_are(client, stream):
    make(client, stream, features=["0", "1"])
    [result] = post(client, stream, "key,0,1\na,5,6\n", "text/csv").json()["results"]
    assert (result["key"], result["values"]) == ("a", [5, 6])


@pytest.mark.parametrize("cell", ["20260131", "19000101", "21001231", " 20260131 "])
@pytest.mark.parametrize("wish", ["reject", "dead_letter"])
def test_a_date_of_digits_alone_may_be_seconds(client, stream, cell, wish):
    make(client, stream, features=["v"])
    body = f"date,v\n2026-01-30,1\n{cell},2\n"
    answer = problem(post(client, stream, body, "text/csv", invalid=wish), 422, "invalid-records")
    [row] = answer["rows"]
    assert (row["row"], row["line"], row["field"]) == (2, 3, "timestamp")
    assert row["value"] == cell.strip()
    assert f"{cell.strip()[:4]}-" in row["reason"] and f"{cell.strip()}.0" in row["reason"]
    assert stored(client, stream) == []


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("20260131.0", "1970-08-23T11:48:51.000Z"),
        ("2026-01-31", "2026-01-31T00:00:00.000Z"),
        ("20261331", "1970-08-23T12:08:51.000Z"),
        ("21010101", "1970-09-01T04:08:21.000Z"),
        ("120260131", "1973-10-23T21:35:31.000Z"),
    ],
)
def test_other_digits_are_seconds(client, stream, cell, expected):
    [result] = post(client, stream, f"t,v\n{cell},1\n", "text/csv").json()["results"]
    assert result["timestamp"] == expected


def test_csv_without_header(client, stream):
    results = post(client, stream, "1,2\n3,4\n", "text/csv").json()["results"]
    assert [result["values"] for result in results] == [[1, 2], [3, 4]]
    assert client.get(f"/v1/streams/{stream}").json()["features"] == ["v0", "v1"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000Z"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00.000Z"),
        (1_700_000_000, "2023-11-14T22:13:20.000Z"),
        (1_700_000_000.25, "2023-11-14T22:13:20.250Z"),
        (1_700_000_000_250, "2023-11-14T22:13:20.250Z"),
    ],
)
def test_timestamps(client, stream, given, expected):
    [result] = post(client, stream, {"values": [1], "timestamp": given}).json()["results"]
    assert result["timestamp"] == expected


def test_the_same_times_in_csv(client, stream):
    body = "timestamp,v\n1700000000,1\n1700000000250,2\n"
    results = post(client, stream, body, "text/csv").json()["results"]
    expected = ["2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20.250Z"]
    assert [result["timestamp"] for result in results] == expected


def test_equal_and_backward_times_are_taken_where_they_stand(client, stream):
    times = ["2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"]
    records = [{"values": [1], "timestamp": time} for time in times]
    results = post(client, stream, {"records": records}).json()["results"]
    offsets = [result["offset"] for result in results]
    assert len(results) == 3 and offsets == sorted(offsets)


def test_ack_answers_with_positions_that_results_bear(client, stream):
    answer = post(client, stream, {"records": [{"values": [1]}, {"values": [2]}]}, wait="ack")
    assert answer.status_code == 202
    positions = answer.json()["positions"]
    post(client, stream, {"values": [3]})
    places = [
        {name: each[name] for name in ("partition", "offset")} for each in stored(client, stream)
    ]
    assert [place for place in places if place in positions] == positions


BAD_VALUES = {
    "infinite": ('{"values": [1e999, 1]}', "values.a"),
    "huge": ('{"values": [1e300, 1]}', "values"),
    "short": ('{"values": [1]}', "values"),
    "long": ('{"values": [1, 2, 3]}', "values"),
    "empty list": ('{"values": []}', "values"),
    "unknown feature": ('{"values": {"a": 1, "c": 2}}', "values.c"),
    "missing feature": ('{"values": {"a": 1}}', "values.b"),
    "text": ('{"values": ["one", 2]}', "values.a"),
    "null": ('{"values": [null, 2]}', "values.a"),
    "boolean": ('{"values": [true, 2]}', "values.a"),
    "nested": ('{"values": [[1], 2]}', "values.a"),
    "no values": ('{"key": "x"}', "values"),
    "values a number": ('{"values": "x"}', "values"),
    "key a number": ('{"values": [1, 2], "key": 5}', "key"),
    "key too long": (json.dumps({"values": [1, 2], "key": "k" * 100_000}), "key"),
    "no time": ('{"values": [1, 2], "timestamp": "yesterday"}', "timestamp"),
    "time a boolean": ('{"values": [1, 2], "timestamp": true}', "timestamp"),
    "time far away": ('{"values": [1, 2], "timestamp": 1e300}', "timestamp"),
}


@pytest.mark.parametrize(("record", "field"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_a_bad_record_refuses_the_body_and_names_row_and_field(client, stream, record, field):
    make(client, stream, features=["a", "b"])
    good = '{"values": [1, 2]}'
    answer = post(client, stream, f'{{"records": [{good}, {record}, {good}]}}')
    body = problem(answer, 422, "invalid-records")
    [row] = body["rows"]
    assert row["row"] == 2
    assert row["field"].startswith(field)
    assert row["reason"]
    assert len(answer.content) < 2_000
    assert stored(client, stream) == []


@pytest.mark.parametrize(
    "line",
    [
        '{"values": [NaN, 1]}',
        '{"values": [Infinity, 1]}',
        "not json",
        '{"values": [1, 2]',
        "[1,2",
        "",
    ],
)
def test_lines_that_are_no_json_name_their_line(client, stream, line):
    make(client, stream, features=["a", "b"])
    answer = post(
        client, stream, f'{{"values": [1, 2]}}\n\n{line or "{"}\n', "application/x-ndjson"
    )
    body = problem(answer, 422, "invalid-records")
    assert body["rows"][0]["line"] == 3 and body["rows"][0]["row"] == 2
    assert stored(client, stream) == []


@pytest.mark.parametrize("cell", ["", "abc", "NaN", "inf", "-Infinity", "1e999", "1_000", "1e300"])
def test_csv_cells_that_are_no_numbers_name_their_column(client, stream, cell):
    make(client, stream, features=["a", "b"])
    body = problem(
        post(client, stream, f"a,b\n1,2\n{cell},4\n", "text/csv"), 422, "invalid-records"
    )
    [row] = body["rows"]
    assert row["row"] == 2 and row["line"] == 3
    assert row["field"] in ("values.a", "values")


def test_csv_rows_of_another_width(client, stream):
    make(client, stream, features=["a", "b"])
    body = problem(post(client, stream, "a,b\n1\n1,2,3\n", "text/csv"), 422, "invalid-records")
    assert [row["line"] for row in body["rows"]] == [2, 3]


def test_twenty_bad_rows_are_shown_and_all_are_counted(client, stream):
    make(client, stream, features=1)
    body = problem(post(client, stream, {"records": [{"values": []}] * 50}), 422, "invalid-records")
    assert len(body["rows"]) == 20
    assert body["invalid"] == 50 and body["records"] == 50


MALFORMED = {
    "empty": (b"", "application/json"),
    "blank": (b"  \n", "application/json"),
    "no records": (b'{"records": []}', "application/json"),
    "array": (b"[1, 2]", "application/json"),
    "number": (b"1", "application/json"),
    "nan": (b'{"values": [NaN]}', "application/json"),
    "cut off": (b'{"records": [{"values"', "application/json"),
    "records a number": (b'{"records": 5}', "application/json"),
    "record beside records": (
        b'{"records": [{"values": [1, 2]}], "values": [3, 4]}',
        "application/json",
    ),
    "empty lines": (b"\n\n", "application/x-ndjson"),
    "empty csv": (b"", "text/csv"),
    "csv header only": (b"a,b\n", "text/csv"),
    "csv twice": (b"a,a\n1,2\n", "text/csv"),
    "csv quotes": (b'a,b\n"1"x,2\n', "text/csv"),
    "csv not utf-8": (b"a,b\n1,2\n\xff\xfe,3\n", "text/csv"),
}


@pytest.mark.parametrize(("content", "kind"), MALFORMED.values(), ids=MALFORMED.keys())
def test_bodies_that_cannot_be_read(client, stream, content, kind):
    make(client, stream, features=["a", "b"])
    problem(post(client, stream, content, kind), 400, "malformed-body")


def test_a_key_beside_records_is_named(client, stream):
    """It would be the key of none of them."""
    make(client, stream, features=1)
    answer = post(client, stream, {"key": "web-1", "records": [{"values": [1]}]})
    body = problem(answer, 400, "malformed-body")
    assert "`key`" in body["detail"]
    assert client.get(f"/v1/streams/{stream}/results").json()["results"] == []


REPEATED = {
    "records": (
        b'{"records": [{"values": [1, 2]}], "records": [{"values": [3, 4]}]}',
        "records",
        "",
    ),
    "values": (b'{"values": [1, 2], "values": [3, 4]}', "values", "row 1: "),
    "values of one of many": (
        b'{"records": [{"values": [1, 2]}, {"values": [1, 2], "values": [3, 4]}]}',
        "values",
        "row 2: ",
    ),
    "key": (b'{"key": "a", "values": [1, 2], "key": "b"}', "key", "row 1: "),
    "feature beside": (b'{"values": {"key": 1, "b": 2, "b": 3}, "key": "a"}', "b", "row 1: "),
}


@pytest.mark.parametrize(("body", "name", "place"), REPEATED.values(), ids=REPEATED.keys())
def test_of_a_name_that_stands_twice_no_value_is_lost_silently(client, stream, body, name, place):
    make(client, stream, features=["a", "b"])
    answer = problem(post(client, stream, body), 400, "malformed-body")
    assert answer["field"] == name
    assert answer["detail"] == f"{place}the name {name!r} stands twice in one object"
    assert stored(client, stream) == []


def test_a_line_whose_name_stands_twice_is_named(client, stream):
    body = b'{"values": [1]}\n\n{"values": [1], "values": [2]}\nno json "values" "values"\n'
    answer = problem(post(client, stream, body, "application/x-ndjson"), 400, "malformed-body")
    assert answer["detail"].startswith("row 2 (line 3): the name 'values'")


def test_names_in_texts_and_other_objects_may_come_again(client, stream):
    make(client, stream, features=["key", "values"])
    body = {"values": {"key": 1, "values": 2}, "key": "values", "a": {"key": 1, "records": []}}
    results = post(client, stream, {"records": [body, body | {"b": "records"}]}).json()["results"]
    assert [result["values"] for result in results] == [[1, 2], [1, 2]]


def test_a_column_that_is_no_feature_is_named_as_such(client, stream):
    make(client, stream, features=["a", "b"])
    answer = post(client, stream, "a,b,host\n1,2,web-1\n", "text/csv")
    (row,) = problem(answer, 422, "invalid-records")["rows"]
    assert (row["field"], row["reason"]) == ("values.host", "no such feature; there are: a, b")


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize(
    "content",
    [
        b'{"values": [1], "key": "\xff"}',
        b'{"values": {"\xff": 1}}',
        b"\xff\xfe{",
        b'{"values": [1], "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b"[" * 50_000,
    ],
    ids=["key", "name", "start", "deep field", "deep"],
)
def test_broken_utf8_and_depth_are_the_clients_fault(client, stream, content, kind):
    make(client, stream, features=1)
    answer = post(client, stream, content, kind)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert post(client, stream, {"values": [1]}).status_code == 200


def test_bad_rows_become_dead_letters_when_asked(client, stream):
    make(client, stream, features=1, output_after=1)
    body = '{"values": [1]}\n{"values": [1, 2]}\n\xff\n{"values": [2]}\n'.encode("latin-1")
    answer = post(client, stream, body, "application/x-ndjson", invalid="dead_letter")
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["status"] == "error" for result in results] == [False, True, True, False]
    assert results[1]["error"]["field"] == "values"
    assert results[1]["score"] is None


def test_a_long_body_is_refused_before_it_is_sent(client, stream):
    body = problem(post(client, stream, b" " * 1_000_001), 413, "body-too-large")
    assert "1,000,000" in body["detail"]


def test_a_long_body_without_a_length_is_refused_while_it_arrives(client, stream):
    sent = 0

    def chunks():
        nonlocal sent
        for _ in range(1_000):
            sent += 100_000
            yield b" " * 100_000

    try:
        answer = client.post(RECORDS.format(stream), content=chunks())
    except (OSError, httpx.TransportError):
        pass  # the server hung up while this client was still sending: refused all the same
    else:
        problem(answer, 413, "body-too-large")
    assert sent < 50_000_000


def test_too_many_records(client, stream):
    problem(post(client, stream, b"1\n" * 5_001, "application/x-ndjson"), 413, "body-too-large")


@pytest.mark.parametrize("kind", ["application/xml", "text/plain", "multipart/form-data", "x"])
def test_unknown_content_types(client, stream, kind):
    body = problem(post(client, stream, "{}", kind), 415, "unsupported-media-type")
    assert body["value"] == kind and "text/csv" in body["allowed"]


def test_an_encoded_body_is_not_supported(client, stream):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = client.post(RECORDS.format(stream), content=b"x", headers=headers)
    assert problem(answer, 415, "unsupported-media-type")["field"] == "Content-Encoding"


@pytest.mark.parametrize("name", ["-a", "a b", "a" * 101, "%2e%2e", "ä"])
def test_stream_names(client, name):
    body = problem(post(client, name, {"values": [1]}), 422, "invalid-parameter")
    assert body["field"] == "stream" and body["allowed"]


@pytest.mark.parametrize("parameters", [{"wait": "soon"}, {"invalid": "keep"}])
def test_unknown_choices(client, stream, parameters):
    [field] = parameters
    body = problem(post(client, stream, {"values": [1]}, **parameters), 422, "invalid-parameter")
    assert body["field"] == field and parameters[field] in body["value"]


def test_unknown_parameters(client, stream):
    """A typo would go unnoticed: `wait` would keep its default."""
    body = problem(post(client, stream, {"values": [1]}, wiat="ack"), 422, "invalid-parameter")
    assert body["field"] == "wiat" and body["value"] == "ack"
    assert body["allowed"] == "only the parameters invalid, wait"
    body = problem(client.get("/v1/streams?page=2"), 422, "invalid-parameter")
    assert (body["field"], body["allowed"]) == ("page", "no parameters")
    assert client.get("/metrics?name[]=rcf_series").status_code == 200


@pytest.mark.parametrize(
    "body", [b"{}", b'{"values": {}}', b'{"values": "x"}', b"\xff", b'{"values": true}']
)
def test_the_first_record_of_an_unknown_stream_must_show_its_features(client, stream, body):
    answer = post(client, stream, body)
    assert answer.status_code in (400, 422)
    assert client.get(f"/v1/streams/{stream}").status_code == 404


@pytest.mark.parametrize("invalid", ["reject", "dead_letter"])
@pytest.mark.parametrize("door", ["records", "backfill"])
@pytest.mark.parametrize("body", ['{"values": ["abc"]}', '{"values": [1], "timestamp": "soon"}'])
def test_a_record_that_is_refused_leaves_no_stream_behind(client, stream, invalid, door, body):
    query = {} if door == "backfill" else {"invalid": invalid}
    answer = client.post(f"/v1/streams/{stream}/{door}", content=body, params=query)
    assert problem(answer, 422, "invalid-records")["rows"][0]["row"] == 1
    assert client.get(f"/v1/streams/{stream}").status_code == 404


def test_a_later_record_that_is_refused_leaves_none_either_but_a_dead_letter_may(client, stream):
    records = {"records": [{"values": [1]}, {"values": [1, 2]}]}
    problem(post(client, stream, records), 422, "invalid-records")
    assert client.get(f"/v1/streams/{stream}").status_code == 404
    first, second = post(client, stream, records, invalid="dead_letter").json()["results"]
    assert (first["status"], second["status"]) == ("warming", "error")


def test_history_without_times_leaves_no_stream_behind(client, stream):
    answer = client.post(f"/v1/streams/{stream}/backfill", json={"values": [1]})
    assert problem(answer, 422, "invalid-records")["rows"][0]["field"] == "timestamp"
    assert client.get(f"/v1/streams/{stream}").status_code == 404


def test_a_stream_that_another_request_made_meanwhile_keeps_its_features(
    server, stream, monkeypatch
):
    made = server.engine.create_stream

    async def slower(config):
        await made(StreamConfig(name=stream, features=("a", "b"), partitions=1))
        return await made(config)

    monkeypatch.setattr(server.engine, "create_stream", slower)
    body = problem(post(server.client, stream, {"values": [1]}), 422, "invalid-records")
    assert "2 (a, b)" in body["detail"]
    assert stored(server.client, stream) == []
