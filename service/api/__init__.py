"""HTTP: the engine's facade as a web API.

Map: `app` puts it together; one file per resource (`streams`, `records`, `results`, `events`,
`messages`, `operations`, `page`, `docs`); `bodies` reads requests, `formats` takes record bodies
apart, `names` refuses what says a name twice, `foreign` what web pages from elsewhere send, `token`
what does not show it; `heads` answers HEAD, `counting` counts; `problems` is the table of
everything that can go wrong, `errors` translates the engine's errors into it; `schemas` holds what
the OpenAPI document says about bodies.

The hot path (`records`) never meets pydantic: raw bytes are split by msgspec, and results are
joined from bytes that the engine encoded.
"""
