"""Forecasts and bands on real streams, beside the last value and beside AWS's caster.

``RCF_DATA=folder python -m load forecast`` forecasts every feature of labelled streams
(`load.labelled` reads them; labels are not looked at). Errors are mean absolute ones over those of
the last value, geometric means over series; coverage is the share of values inside the band that is
to hold 90 %, over features that move in most records, and over all. AWS's RCFCaster (jrcf, horizon
`LEADS`, its defaults otherwise: 50 trees of 256, NORMALIZE) takes milliseconds a record, so it gets
`CASTER_SERIES` features of a collection and few records; ours are asked about the same ones.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import rcf
from load.labelled import Labelled, data_folder, streams_of
from load.report import Row, publish
from rcf.state import F64

WARM = 300
LEADS = 8
CASTER_SERIES, CASTER_RECORDS, CASTER_FEATURES = 32, 1000, 4  #: records and features of a file
MOVING = 0.5  #: share of records in which a feature that counts as moving moves


class Tried(NamedTuple):
    """Forecasts of one stream at the same places, each (leads, features).

    Attributes:
        error: Mean absolute error over that of the last value; NaN where that is 0.
        inside: Share of values inside the band.
    """

    error: F64
    inside: F64


def tried(values: F64, ahead: F64, places: list[int]) -> Tried:
    """Compare forecasts (3, places, leads, features) made before records with what came."""
    leads = ahead.shape[2]
    errors, naive, inside = (np.zeros(ahead.shape[2:]) for _ in range(3))
    for at, place in enumerate(places):
        true = values[place : place + leads]
        expected, lower, upper = ahead[:, at]
        errors += np.abs(expected - true)
        naive += np.abs(values[place - 1] - true)
        inside += (true >= lower) & (true <= upper)
    known = np.where(naive > 0, naive, np.nan)
    return Tried(errors / known, inside / len(places))


def of_forecaster(values: F64, places: list[int], leads: int) -> F64:
    """What `rcf.Forecaster` says before each of the places."""
    forecaster = rcf.Forecaster(values.shape[1])
    out, start = [], 0
    for place in places:
        forecaster.process(values[start:place])
        out.append(np.array(forecaster.forecast(leads)))
        start = place
    return np.stack(out, axis=1)


def of_caster(values: F64, places: list[int], leads: int) -> F64:
    """What AWS's RCFCaster says there."""
    import_module("jrcf")  # starts the virtual machine
    java: Any = import_module("jpype")
    package = "com.amazon.randomcutforest"
    features = values.shape[1]
    shingle = 8 if features <= 2 else 4
    caster = (
        java.JClass(f"{package}.parkservices.RCFCaster")
        .builder()
        .dimensions(features * shingle)
        .shingleSize(shingle)
        .numberOfTrees(50)
        .sampleSize(256)
        .transformMethod(java.JClass(f"{package}.config.TransformMethod").NORMALIZE)
        .forecastHorizon(leads)
        .initialAcceptFraction(0.125)
        .randomSeed(1)
        .build()
    )
    wanted, out = set(places), []
    for number in range(places[-1]):
        said = caster.process(java.JArray.of(values[number], java.JDouble), number)
        if number + 1 in wanted:
            band = said.getTimedForecast().rangeVector
            out.append([np.array(each) for each in (band.values, band.lower, band.upper)])
    shape = (len(places), 3, leads, features)
    return np.array(out, np.float64).reshape(shape).swapaxes(0, 1)


def mean_error(errors: list[F64]) -> float:
    """Geometric mean over series of errors (features,) that are known."""
    known = np.concatenate(errors)
    known = known[np.isfinite(known) & (known > 0)]
    return float(np.exp(np.log(known).mean()))


def whole_streams(streams: list[Labelled]) -> Row:
    """Coverage and error of ours over whole files: lead 1 of each record, others of each 16th."""
    errors, inside, all_inside, leads = [], [], [], []
    for stream in streams:
        values = stream.values
        said = rcf.Forecaster(values.shape[1]).process(values)
        held = (values >= said.lower) & (values <= said.upper)
        naive = np.abs(np.diff(values, axis=0))[WARM - 1 :].mean(axis=0)
        found = np.abs(said.expected - values)[WARM:].mean(axis=0)
        errors.append(found[naive > 0] / naive[naive > 0])
        moving = (np.diff(values, axis=0) != 0).mean(axis=0) > MOVING
        inside.append(held[WARM:, moving].mean(axis=0))
        all_inside.append(held[WARM:].mean(axis=0))
        places = list(range(WARM, len(values) - 16, 16))
        if places:
            later = tried(values, of_forecaster(values, places, 16), places)
            leads.append(later.inside[1:, moving].mean(axis=0))
    return {
        "collection": streams[0].collection,
        "error, lead 1": mean_error(errors),
        "inside, lead 1": float(np.concatenate(inside).mean()),
        "inside, leads 2-16": float(np.concatenate(leads).mean()),
        "inside, lead 1, all features": float(np.concatenate(all_inside).mean()),
    }


def beside_caster(streams: list[Labelled]) -> Row:
    """Ours and the caster's on the same series."""
    rows: dict[str, list[Tried]] = {"ours": [], "caster": []}
    for stream in streams:
        if sum(each.error.shape[1] for each in rows["ours"]) >= CASTER_SERIES:
            break
        values = stream.values[:CASTER_RECORDS]
        moving = np.flatnonzero((np.diff(values[WARM:], axis=0) != 0).mean(axis=0) > MOVING)
        if len(moving) == 0:
            continue
        values = np.ascontiguousarray(values[:, moving[:CASTER_FEATURES]])
        places = list(range(WARM, len(values) - LEADS, 2))
        for name, cast in (("ours", of_forecaster), ("caster", of_caster)):
            rows[name].append(tried(values, cast(values, places, LEADS), places))
    row: dict[str, str | float | int] = {"collection": streams[0].collection}
    for name, found in rows.items():
        row[f"{name} lead 1"] = mean_error([each.error[0] for each in found])
        row[f"{name} leads 1-{LEADS}"] = mean_error([each.error.mean(axis=0) for each in found])
        row[f"{name} inside"] = float(np.mean([each.inside.mean() for each in found]))
    return row


def main() -> None:
    """Measure and publish."""
    collections = list(streams_of(data_folder()))
    publish(
        "forecasts: error over that of the last value, share inside the 90 % band",
        [whole_streams(streams) for streams in collections],
    )
    if find_spec("jrcf") is None:
        sys.stderr.write("\n!!! AWS's caster is LEFT OUT: the package jrcf is not installed\n\n")
        return
    publish(
        "forecasts beside AWS's caster: error over that of the last value",
        [beside_caster(streams) for streams in collections],
        records=CASTER_RECORDS,
    )
