"""Looks for words in everything that a process inside can read. The words come
reversed, so that looking for them does not leave them to be found."""
import array, os, sys

PAGE = os.sysconf("SC_PAGESIZE")

words = {w: w[::-1].encode() for w in sys.argv[1:]}
me = str(os.getpid())

def found(where, data):
    for w, needle in words.items():
        if needle in data:
            print("FOUND", w, where)

def pages(pid, start, end):
    """The runs of pages that are there: reading others would make them."""
    with open(f"/proc/{pid}/pagemap", "rb") as f:
        f.seek(start // PAGE * 8)
        entries = array.array("Q", f.read((end - start) // PAGE * 8))
    run = None
    for i, e in enumerate(entries):
        there = e >> 62
        if there and run is None:
            run = i
        if run is not None and (not there or i - run == 2048):
            yield start + run * PAGE, start + i * PAGE
            run = i if there else None
    if run is not None:
        yield start + run * PAGE, start + len(entries) * PAGE

def memory(pid):
    total = 0
    with open(f"/proc/{pid}/smaps") as f, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        region = None
        for line in f:
            first = line.split(" ", 1)[0]
            if "-" in first:
                region = [int(x, 16) for x in first.split("-")] if line.split()[1][0] == "r" else None
            elif first == "Rss:" and region and int(line.split()[1]) > 0:
                tail = b""
                for at, end in pages(pid, *region):
                    try:
                        mem.seek(at)
                        data = mem.read(end - at)
                    except (OSError, ValueError, OverflowError):
                        continue
                    total += len(data)
                    found(f"memory of {pid}", tail + data)
                    tail = data[-100:]
    return total

scanned = 0
for pid in [p for p in os.listdir("/proc") if p.isdigit() and p != me]:
    for name in ("environ", "cmdline"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as f:
                found(f"{name} of {pid}", f.read())
        except OSError:
            pass
    try:
        scanned += memory(pid)
    except OSError:
        pass
for top in ("/etc", "/home", "/workspace", "/tmp", "/run", "/opt/claude/config", "/dev/shm"):
    for folder, _, names in os.walk(top):
        for n in names:
            p = os.path.join(folder, n)
            try:
                if os.path.isfile(p):
                    with open(p, "rb") as f:
                        found(p, f.read(16 << 20))
            except OSError:
                pass
print("scanned", scanned >> 20, "MB of memory")
