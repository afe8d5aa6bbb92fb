"""A small MCP server over stdio, for tests."""
import hashlib, json, os, sys

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOLS = {
    "echo": ("says what it is told", lambda a: "echo of " + a.get("text", "")),
    "digest": ("tells the hash of its secret", lambda a: hashlib.sha256(os.environ.get("BOX_TOKEN", "").encode()).hexdigest()),
    "look": ("tells what it sees", lambda a: json.dumps({
        "processes": sorted(p for p in os.listdir("/proc") if p.isdigit()),
        "workspace": sorted(os.listdir(".")), "global": os.path.exists("/workspace/global"), "claude": os.path.exists("/opt/claude"),
        "env": sorted(os.environ)})),
    "die": ("ends", lambda a: os._exit(3)),
}

def answer(m):
    if m["method"] == "initialize":
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "test", "version": "1"}}
    if m["method"] == "tools/list":
        return {"tools": [{"name": n, "description": d, "inputSchema": TEXT} for n, (d, _) in TOOLS.items()]}
    if m["method"] == "tools/call":
        return {"content": [{"type": "text", "text": TOOLS[m["params"]["name"]][1](m["params"].get("arguments", {}))}]}

for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m:
        continue
    r = answer(m)
    body = {"result": r} if r is not None else {"error": {"code": -32601, "message": "unknown"}}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **body}), flush=True)
