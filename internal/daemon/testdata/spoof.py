"""Speaks to the host tools' endpoint from inside, in any way but the right one."""
import json
import socket
import sys

PORT = 8481


def raw(data, end=False):
    """Sends bytes on a connection of its own and gives all that is answered. The
    end of what is sent is told only if end is: hosts take it for hanging up."""
    conn = socket.create_connection(("127.0.0.1", PORT), 60)
    out = b""
    try:
        conn.sendall(data)
        if end:
            conn.shutdown(socket.SHUT_WR)
        while part := conn.recv(65536):
            out += part
    except OSError:
        pass
    return out.decode("utf-8", "replace") or "cut"


def post(body, head="", path="/mcp", length=True):
    """A request with this body, as bytes."""
    if isinstance(body, str):
        body = body.encode()
    if length:
        head += "Content-Length: %d\r\n" % len(body)
    return (
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\n%s\r\n" % (path, PORT, head)
    ).encode() + body


def message(args, tool="send_message", params={}, top={}):
    """A call of a tool. Arguments that are no dictionary go out as they are."""
    if isinstance(args, dict):
        args = json.dumps(args)
    outer = dict({"jsonrpc": "2.0", "id": 7, "method": "tools/call"}, **top)
    inner = dict({"name": tool}, **params)
    return json.dumps(dict(outer, params=inner))[:-2] + ', "arguments": ' + args + "}}"


def call(args, **more):
    """What a call is answered, in words."""
    return raw(post(message(args, **more), "Connection: close\r\n"))


