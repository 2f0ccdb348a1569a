"""What schemathesis has to be told: MessagePack, in which every body can come and go."""

import msgpack
import schemathesis
from schemathesis.transport.requests import REQUESTS_TRANSPORT


@REQUESTS_TRANSPORT.serializer("application/msgpack")
def pack(ctx, value):
    if isinstance(value, bytes):
        return {"data": value}
    try:
        return {"data": msgpack.packb(value)}
    except (OverflowError, TypeError, ValueError):
        # A number beyond 64 bits, say, has no MessagePack: a body that is none.
        return {"data": repr(value).encode(errors="replace")}


@schemathesis.deserializer("application/msgpack")
def unpack(ctx, response):
    return msgpack.unpackb(response.content)


@schemathesis.deserializer("text/csv", "application/x-ndjson")
def text(ctx, response):
    return response.text
