"""Every error that a broker may answer, at every request of a transaction.

The law, whatever happens: a transaction is committed with everything in it or not at all, and the
next one works soon after.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from service.adapters.kafka import Connection
from service.engine.errors import EngineError
from service.engine.records import StreamPartition
from tests.kafka.fixtures import connection
from tests.kafka.owner import Owner, check_outputs
from tests.kafka.proxy import Api, Kind
from tests.kafka.test_log import log_with, new, stream

EVERY_CODE = (
    7,  # REQUEST_TIMED_OUT
    10,  # MESSAGE_TOO_LARGE
    15,  # COORDINATOR_NOT_AVAILABLE
    16,  # NOT_COORDINATOR
    19,  # NOT_ENOUGH_REPLICAS
    45,  # OUT_OF_ORDER_SEQUENCE_NUMBER
    47,  # INVALID_PRODUCER_EPOCH
    48,  # INVALID_TXN_STATE
    51,  # CONCURRENT_TRANSACTIONS
    59,  # UNKNOWN_PRODUCER_ID
    90,  # PRODUCER_FENCED
    120,  # TRANSACTION_ABORTABLE
)
CODES = EVERY_CODE if os.environ.get("RCF_LONG") else (16, 45, 47)
"""One for each way in which the library meets them: it asks again, it breaks, it is fenced."""

APIS = (
    Api.FIND_COORDINATOR,
    Api.INIT_PRODUCER_ID,
    Api.ADD_PARTITIONS,
    Api.PRODUCE,
    Api.ADD_OFFSETS,
    Api.COMMIT_OFFSETS,
    Api.END_TRANSACTION,
)


@pytest.mark.slow
@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name.lower())
def test_an_error_costs_a_transaction_or_nothing(kafka, proxy, api):
    there = connection(proxy.address)
    config = stream(there)
    part = StreamPartition(config.name, 0)
    kinds = (Kind.REFUSE, Kind.DENY) if api is Api.END_TRANSACTION else (Kind.REFUSE,)

    async def body() -> None:
        log = await log_with(there, config)
        await log.append(config.name, new(*range(4 * len(CODES) * len(kinds))))
        owner = Owner(log, part)
        for kind in kinds:
            for code in CODES:
                with proxy.fault(api, kind, code, fits=lambda it: ours(it, there)) as fault:
                    try:
                        if api in (Api.FIND_COORDINATOR, Api.INIT_PRODUCER_ID) or not owner.epoch:
                            await owner.take_over()
                        await owner.commit()
                    except EngineError:
                        await owner.recover()
                    assert fault.met.is_set(), f"{api} was not asked"
        await log.close()
        assert owner.at >= len(CODES)
        await asyncio.to_thread(check_outputs, kafka, there, part, owner.at)

    asyncio.run(asyncio.wait_for(body(), 100))


def ours(request, there: Connection) -> bool:
    """Whether a request belongs to the partition's transactions, rather than to the catalogue's."""
    known = {name: getattr(request, name, None) for name in ("transactional_id", "coordinator_key")}
    return f"{there.application}-s-{there.application}-0" in known.values()
