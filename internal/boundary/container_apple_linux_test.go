package boundary

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nanoclaw/internal/boundary/boundarytest"
	"nanoclaw/internal/boundary/podmantest"
)

// appleStandIn reads what Apple's container reads, refuses what its reference does
// not have, and lets a real podman do it. What Apple's does with it nobody here has
// seen: it was never run.
const appleStandIn = `#!/bin/sh
set -eu
podman=@PODMAN@
die() { echo "Error: $*" >&2; exit 64; }
run() {
	entry= opts=
	while [ $# -gt 0 ]; do
		case "$1" in
		--interactive | --rm | --read-only) opts="$opts $1"; shift ;;
		--no-dns) shift ;;
		--progress) [ "$2" = none ] || [ "$2" = ansi ] || die "progress $2"; shift 2 ;;
		--name | --label | --network | --user | --workdir | --tmpfs | --cpus) opts="$opts $1 $2"; shift 2 ;;
		--cap-drop) [ "$2" = ALL ] || die "capability $2"; opts="$opts $1 all"; shift 2 ;;
		--memory) case "$2" in *[0-9][KMGTP]) ;; *) die "memory $2" ;; esac; opts="$opts $1 $(echo "$2" | tr A-Z a-z)"; shift 2 ;;
		--entrypoint) entry=$2; shift 2 ;;
		--mount)
			case "$2" in type=bind,source=/*,target=/*) ;; *) die "mount $2" ;; esac
			opts="$opts --volume $(echo "$2" | sed 's/^type=bind,source=//; s/,target=/:/; s/,readonly$/:ro/')"; shift 2 ;;
		-*) die "Unknown option '$1'" ;;
		*) break ;;
		esac
	done
	exec $podman run --sig-proxy=false --read-only-tmpfs=false --no-hosts --hostname apple --log-driver none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --entrypoint "$entry" $opts "$@"
}
verb=$1
shift
case "$verb" in
--version) echo "container CLI version 1.1.0 (build: release, commit: 0000000)" ;;
run) run "$@" ;;
list)
	[ "$*" = "--all --format json" ] || die "list $*"
	$podman ps --all --format '{"configuration":{"id":"{{.Names}}","labels":{"nanoclaw.install":"{{index .Labels "nanoclaw.install"}}"}},"status":"{{.State}}"}' | paste -sd, | sed 's/^/[/; s/$/]/' ;;
rm | delete) [ "$1" = --force ] || die "rm $*"; shift; exec $podman rm --force --time 0 "$@" ;;
kill) exec $podman kill "$@" ;;
image)
	[ "$1" = inspect ] || die "image $*"
	$podman image exists "$2" || { echo "Error: image not found: $2" >&2; exit 1; }
	echo '[]' ;;
*) die "Unexpected argument '$verb'" ;;
esac
`

// TestContainerOfApple speaks the command line of Apple's container with a stand-in:
// a session works, its mounts are as granted, and what is left over is found by its
// label alone.
func TestContainerOfApple(t *testing.T) {
	if os.Geteuid() != 0 {
		return // files have to be the agent's, as Apple's machine shows them
	}
	p := podmantest.New(t)
	p.Hollow(hollow)
	program := filepath.Join(openDir(t), "container")
	noError(t, os.WriteFile(program, []byte(strings.ReplaceAll(appleStandIn, "@PODMAN@", p.Program)), 0o755))
	c, err := NewContainer(AppleEngine, Options{
		Init: bytes.NewReader(boundarytest.Init(t)), Dir: openDir(t),
		Container: ContainerOptions{Program: program, Env: p.Env, Image: hollow, Install: "t1"},
	})
	noError(t, err)
	for _, install := range []string{"t1", "t2"} {
		p.Run("create", "--name", "nanoclaw-"+install+"-old", "--label", installLabel+"="+install, "--network", "none", hollow, "/bin/true")
	}
	b := containerBox(t, c, func(s *Spec) { s.UID = insideUID })
	if got, want := b.sh("id -u; pwd; echo x > y && cat y; touch /usr/x /x 2>&1 | grep -c -E 'Read-only|denied'; grep -c : /proc/net/dev"), "1000\n/workspace/group\nx\n2\n1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if m := strings.Join(b.Missing(), "\n"); !strings.Contains(m, "has a kernel of its own") || !strings.Contains(m, `the name of the session: it is called "apple"`) {
		t.Errorf("what cannot be proven is told as %q", m)
	}
	removed, err := c.Reap(t.Context())
	if err != nil || !slices.Equal(removed, []string{"nanoclaw-t1-old"}) {
		t.Errorf("removed %v, %v", removed, err)
	}
	b.Close()
	if left := p.Containers(); !slices.Equal(left, []string{"nanoclaw-t2-old"}) {
		t.Errorf("left are %v", left)
	}
	spec, _ := fixture(t)
	spec.Grant.Image = "localhost/none:latest"
	if _, err := c.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "nanoclaw image build") {
		t.Errorf("without an image: %v", err)
	}
	if err := (&Images{c.cli}).Import(t.Context(), "x", t.TempDir()); err == nil || errors.Is(err, ErrNotOurs) {
		t.Errorf("import: %v", err)
	}
}
