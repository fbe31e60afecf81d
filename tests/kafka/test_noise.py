"""What an owner leaves behind after it was fenced, or after an error, is nobody's surprise."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from service.adapters.kafka import KafkaLog
from service.engine.errors import EngineError, Fenced
from service.engine.records import StreamPartition
from tests.kafka.fixtures import connection
from tests.kafka.owner import Owner
from tests.kafka.proxy import Api, Kind
from tests.kafka.test_log import new, stream


def test_no_future_is_left_unseen(kafka, proxy, caplog):
    there = connection(proxy.address)
    config = stream(there)
    part = StreamPartition(config.name, 0)

    async def body() -> None:
        one, two = KafkaLog(there), KafkaLog(there)
        for log in (one, two):
            await log._catalogue.open()
        await one.create_stream(config)
        await two._catalogue.refresh()
        await one.append(config.name, new(*range(9)))
        owner, other = Owner(one, part), Owner(two, part)
        for code, api in ((45, Api.ADD_PARTITIONS), (47, Api.PRODUCE), (48, Api.END_TRANSACTION)):
            await owner.take_over()
            with proxy.fault(api, Kind.REFUSE, code), pytest.raises(EngineError):
                await owner.commit()
        await owner.take_over()
        repeated = proxy.fault(Api.PRODUCE, Kind.REFUSE, 19)  # NOT_ENOUGH_REPLICAS
        with repeated, proxy.fault(Api.PRODUCE, Kind.REFUSE, 47), pytest.raises(Fenced):
            await owner.commit()
        await owner.take_over()
        await other.take_over()
        with pytest.raises(Fenced):
            await owner.commit()
        for log in (one, two):
            await log.close()
        await asyncio.sleep(0.2)
        gc.collect()

    with caplog.at_level(logging.ERROR, "asyncio"):
        asyncio.run(asyncio.wait_for(body(), 60))
        gc.collect()
    said = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert said == []
