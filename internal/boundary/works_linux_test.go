package boundary

import (
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// work is something that people have agents do every day.
type work struct {
	name string
	// files are put into the workspace first, by name.
	files map[string]string
	// script is run by a shell in the workspace. It prints want, and ends with 0.
	script, want string
	// terminal gives it one, cache what Go compiled before, env more variables.
	terminal, cache bool
	env             []string
}

// works is what must go on working inside, whatever is closed. Who tightens a
// layer reads here what it must not cost.
var works = []work{
	{name: "git", script: `
		git init -q origin && cd origin && git config user.name a && git config user.email a@b
		echo one > file && git add file && git commit -qm first && cd ..
		git clone -q origin copy && cd copy && git log --format=%s && git status --short`, want: "first"},
	{name: "make", files: map[string]string{"Makefile": "all: a b\n\t@cat a b\na b:\n\t@echo made $@ > $@\n"},
		script: "make -j2", want: "made a\nmade b"},
	{name: "C", files: map[string]string{"hello.c": "#include <stdio.h>\nint main(void) { puts(\"hello from C\"); return 0; }\n"},
		script: "gcc -O1 -o hello hello.c && ./hello", want: "hello from C"},
	{name: "Go", files: map[string]string{"go.mod": "module hello\n", "main.go": "package main\n\nfunc main() { println(\"hello from Go\") }\n"},
		script: "go build -v -o hello . && ./hello 2>&1 && ls -d ~/.cache/go-build", want: "hello from Go\n" + grant.Home + "/.cache/go-build", env: boundarytest.GoEnv, cache: true},
	{name: "Node, a server and its client", files: map[string]string{"server.js": `
		const http = require('http'), {spawnSync} = require('child_process')
		const s = http.createServer((q, a) => a.end('served ' + q.url)).listen(0, '127.0.0.1', async () => {
			const r = await fetch('http://127.0.0.1:' + s.address().port + '/x')
			console.log(await r.text(), spawnSync('echo', ['and a child']).stdout.toString().trim())
			s.close()
		})`}, script: "node server.js", want: "served /x and a child"},
	{name: "Python's processes", files: map[string]string{"pool.py": `
import multiprocessing as m, sys
def square(x): return x * x
def put(q, v): v.value += 1; q.put("queued")
if __name__ == "__main__":
    c = m.get_context(sys.argv[1])
    with c.Pool(2) as p: print(p.map(square, [1, 2, 3]))
    q, v = c.Queue(), c.Value("i", 1)
    p = c.Process(target=put, args=(q, v)); p.start(); print(q.get()); p.join(); print(v.value)
    print(square_in_pool := __import__("concurrent.futures", fromlist=["x"]).ProcessPoolExecutor(1, mp_context=c).submit(square, 5).result())
`}, script: "python3 pool.py fork && python3 pool.py spawn", want: "[1, 4, 9]\nqueued\n2\n25\n[1, 4, 9]\nqueued\n2\n25"},
	{name: "Python's shared memory", files: map[string]string{"shm.py": `
from multiprocessing import shared_memory
a = shared_memory.SharedMemory(create=True, size=1 << 20)
b = shared_memory.SharedMemory(a.name)
a.buf[7] = 42; print(b.buf[7]); b.close(); a.close(); a.unlink()
import mmap; m = mmap.mmap(-1, 4096); m[:3] = b"abc"; print(m[:3])
`}, script: "python3 shm.py; echo x > /dev/shm/file && cat /dev/shm/file", want: "42\nb'abc'\nx"},
	{name: "a dev server and its client", script: `
		echo page > index.html; python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 & server=$!
		for i in $(seq 200); do curl -sf http://localhost:8123/index.html && break; sleep 0.05; done
		kill $server; wait $server 2>/dev/null; echo over`, want: "page\nover"},
	{name: "a terminal made inside", files: map[string]string{"terminal.py": `
import pty, os, sys
pid, fd = pty.fork()
if pid == 0: os.execlp("sh", "sh", "-c", "tty; stty size")
out = b""
while True:
    try: b = os.read(fd, 100)
    except OSError: break
    if not b: break
    out += b
print(out.decode().replace("\r", "").split("\n")[0].startswith("/dev/pts/"), os.waitpid(pid, 0)[1])
`}, script: "python3 terminal.py; script -qec 'echo in a script' /dev/null </dev/null | tr -d '\\r'", want: "True 0\nin a script"},
	{name: "job control", terminal: true, script: "bash --norc -ic 'sleep 100 & kill %1; wait %1; echo ended with $?' 2>/dev/null", want: "ended with 143"},
	{name: "ps", script: "ps -eo pid=,comm= | grep -c '^ *1 '; ps -eo comm= | grep -x ps; pgrep -x sh >/dev/null && echo found", want: "1\nps\nfound"},
	{name: "strace", script: "strace -f -o log sh -c 'echo traced'; grep -c -m1 '\"traced' log", want: "traced\n1"},
	{name: "gdb", files: map[string]string{"d.c": "int f(int x) { return x + 1; }\nint main(void) { return f(41); }\n"},
		script: "gcc -g -o d d.c && gdb -nx -batch -ex 'break f' -ex run -ex 'print x' -ex finish ./d 2>&1 | grep -E '^\\$1|Value returned'", want: "$1 = 41\nValue returned is $2 = 42"},
	{name: "a browser", files: map[string]string{"page.html": "<body><script>document.body.append('made by ' + 'script')</script></body>"}, script: `
		python3 -m http.server 8124 --bind 127.0.0.1 >/dev/null 2>&1 & server=$!
		chrome() { chromium-headless-shell --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync "$@" 2>errors; }
		chrome --dump-dom http://127.0.0.1:8124/page.html | grep -o 'made by script<' || tail errors
		chrome --screenshot=shot.png data:text/html,hello; head -c 4 shot.png | tail -c 3; echo
		kill $server`, want: "made by script<\nPNG"},
}

// worksOn are the engines that all of works is tried on.
func worksOn(t *testing.T) []Engine { return []Engine{newEngine(t, Options{})} }

// TestWorks does all of works through the real boundary, with the rights of a
// group that was given nothing, but for Go's folder among its tools.
func TestWorks(t *testing.T) {
	goroot := boundarytest.GoRoot(t)
	for _, e := range worksOn(t) {
		for _, w := range works {
			t.Run(e.Name()+"/"+w.name, func(t *testing.T) { w.try(t, e, goroot) })
		}
	}
}

func (w work) try(t *testing.T, e Engine, goroot string) {
	spec, _ := fixture(t)
	for _, m := range []string{"/etc/alternatives", "/etc/ssl/certs", "/etc/fonts", goroot} {
		spec.Grant.Mounts = append(spec.Grant.Mounts, grant.Mount{Target: m, Source: m, Exec: true, Foreign: true, Optional: true})
	}
	spec.Grant.Limits = grant.Limits{Memory: 4 << 30, Processes: 1024, OpenFiles: 4096, FileSize: 1 << 30, TmpSize: 1 << 30, Disk: 8 << 30}
	s, err := e.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := &box{Session: s, t: t, env: []string{
		"HOME=" + grant.Home, "PATH=" + filepath.Join(goroot, "bin") + ":/usr/bin:/bin", "LANG=C.UTF-8", "TERM=dumb", "TMPDIR=/tmp",
	}}
	for name, text := range w.files {
		if r := b.run(text, "/bin/sh", "-c", `cat > "$0"`, name); r.Code != 0 {
			t.Fatalf("writing %s: %s", name, r.err)
		}
	}
	if w.cache {
		b.unpack(boundarytest.GoCache(t), grant.Home+"/.cache/go-build")
	}
	b.env = append(b.env, w.env...)
	x := wire.Exec{Argv: []string{"/bin/sh", "-c", w.script}}
	if w.terminal {
		x.Stdio, x.Rows, x.Cols = wire.PTY, 24, 80
	}
	r := b.finish(b.start(x), "")
	got := strings.TrimSpace(strings.ReplaceAll(r.out, "\r", ""))
	if got != w.want || r.Code != 0 {
		t.Errorf("got %q, code %d, want %q\n%s", got, r.Code, w.want, r.err)
	}
}

// unpack puts an archive into a folder, from inside.
func (b *box) unpack(archive []byte, dir string) {
	b.t.Helper()
	if r := b.run(string(archive), "/bin/sh", "-c", `mkdir -p "$0" && tar -x -C "$0"`, dir); r.Code != 0 {
		b.t.Fatalf("unpacking into %s: %s", dir, r.err)
	}
}
