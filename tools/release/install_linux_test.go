package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// script runs a text of the shell in namespaces of its own: what it mounts is no mount
// of this machine.
func script(t *testing.T, flags uintptr, env []string, text string) (string, error) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-ec", text)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if flags&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The package installs with dpkg into a root of its own, where the program runs, and
// removing it leaves nothing. Nothing in it is run by either.
func TestDebianPackage(t *testing.T) {
	r := once(t)
	root := t.TempDir()
	deb := filepath.Join(r.out, "nanoclaw_1.2.0~rc.1_"+host.arch+".deb")
	out, err := script(t, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNS, []string{"ROOT=" + root, "DEB=" + deb}, `
		mkdir -p $ROOT/var/lib/dpkg/info $ROOT/var/lib/dpkg/updates
		: >$ROOT/var/lib/dpkg/status
		echo "parts: $(dpkg-deb --ctrl-tarfile $DEB | tar t | sort | tr '\n' ' ')"
		dpkg --root=$ROOT --log=/dev/null --install $DEB
		echo "state: $(dpkg-query --admindir=$ROOT/var/lib/dpkg -W -f '${Status} ${Version}' nanoclaw)"
		$ROOT/usr/bin/nanoclaw version
		ls $ROOT/usr/share/doc/nanoclaw/copyright $ROOT/usr/share/bash-completion/completions/nanoclaw
		gunzip -c $ROOT/usr/share/man/man1/nanoclaw.1.gz | head -n 1
		find $ROOT -perm /6022 ! -type l ! -path "$ROOT"
		dpkg --root=$ROOT --log=/dev/null --remove nanoclaw
		echo "left: $(find $ROOT -type f ! -path "$ROOT/var/*")"`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"parts: ./ ./control \n", "state: install ok installed 1.2.0~rc.1\n", "nanoclaw " /* its version */, "copyright\n", "completions/nanoclaw\n", ".TH NANOCLAW 1 ", "left: \n"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// engine is what makes podman work in a folder of its own.
const engine = `
	printf '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n' >$HOME/containers.conf
	printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/root"\nrunroot = "%s/run"\n' $HOME $HOME >$HOME/storage.conf
	export CONTAINERS_CONF=$HOME/containers.conf CONTAINERS_STORAGE_CONF=$HOME/storage.conf XDG_RUNTIME_DIR=$HOME
	[ $(id -u) != 0 ] || mount --make-rprivate /
	podman() { command podman --root $HOME/root --runroot $HOME/run --tmpdir $HOME/tmp "$@" 2>&1; }
	run() { podman run --rm --network none --no-hosts --log-driver none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$@" || echo "exit $?"; }
`

// The image is loaded and started by a real engine. As it comes, the boundary cannot be
// built in it, which it says, and does nothing; as docs/releases.md says to start
// it, the boundary stands and holds.
func TestImage(t *testing.T) {
	r := once(t)
	home, err := os.MkdirTemp("", "nanoclaw-image-") // short
	must(t, err)
	flags := uintptr(0)
	if os.Geteuid() == 0 {
		flags = syscall.CLONE_NEWNS
	}
	env := []string{"HOME=" + home, "IMAGE=" + imageName(testVersion), "TAR=" + filepath.Join(r.out, r.name(host, ".oci.tar")), "OPTIONS=" + options(t)}
	t.Cleanup(func() {
		out, err := script(t, flags, env, engine+`podman system reset --force || true; rm -rf $HOME || command podman unshare rm -rf $HOME`)
		if _, left := os.Lstat(home); !errors.Is(left, os.ErrNotExist) {
			t.Errorf("it is not removed: %v\n%s", err, out)
		}
	})
	out, err := script(t, flags, env, engine+`
		podman load -q -i $TAR
		echo "== version"; run $IMAGE version
		echo "== as it comes"; run $IMAGE doctor
		echo "== as the page says"; run $OPTIONS $IMAGE doctor
		podman image inspect -f '{{.Config.User}} {{.Config.Volumes}}' $IMAGE`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, rest, _ := strings.Cut(out, "== version\n")
	version, rest, _ := strings.Cut(rest, "== as it comes\n")
	bare, told, _ := strings.Cut(rest, "== as the page says\n")
	if !strings.HasPrefix(version, "nanoclaw ") {
		t.Errorf("version says %q", version)
	}
	if !strings.Contains(bare, "fail  probe: the boundary cannot be built") || !strings.Contains(bare, "exit 1\n") || !strings.Contains(bare, "this seems to be a container") {
		t.Errorf("as it comes:\n%s", bare)
	}
	if !strings.Contains(told, "attempts to break out, none got through") || !strings.Contains(told, "engine native: in use; holds") || !strings.Contains(told, "1000:1000 map[/home/nanoclaw:{}]") {
		t.Errorf("as the page says:\n%s", told)
	}
}

// options are those with which the page says to start the image.
func options(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/releases.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(page), "podman run --rm -it ")
	line, _, ok2 := strings.Cut(rest, " localhost/nanoclaw:")
	if !ok || !ok2 {
		t.Fatal("docs/releases.md does not say how the image is started")
	}
	return fmt.Sprint(strings.ReplaceAll(line, "\\\n", " "))
}
