package boundary

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nanoclaw/internal/boundary/podmantest"
)

// containerImages: what is made here is listed, used and removed, and nothing else is.
func containerImages(t *testing.T, on installed, c *Container) {
	images := &Images{c.cli}
	dir := t.TempDir()
	noError(t, os.WriteFile(filepath.Join(dir, "page"), []byte("of the image\n"), 0o644))
	file := filepath.Join(dir, "Containerfile")
	noError(t, os.WriteFile(file, []byte("FROM "+hollow+"\nARG WORD\nLABEL word=$WORD\nCOPY page /usr/share/page\n"), 0o644))
	noError(t, images.Build(t.Context(), "localhost/built:latest", file, map[string]string{"WORD": "heron"}, t.Output()))

	root := filepath.Join(dir, "root")
	for _, d := range []string{"usr", "tmp", "proc", "dev", "sys", "etc", "workspace", "home", "opt", "run"} {
		noError(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib64", "lib32"} {
		if to, err := os.Readlink("/" + l); err == nil {
			noError(t, os.Symlink(to, filepath.Join(root, l)))
		}
	}
	noError(t, images.Import(t.Context(), "localhost/brought:latest", root))

	list, err := images.List(t.Context())
	noError(t, err)
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	if text := strings.Join(names, " "); len(names) != 2 || !strings.Contains(text, "localhost/built:latest") || !strings.Contains(text, "localhost/brought:latest") {
		t.Errorf("made here are %v", names)
	}
	if got := on.Run("image", "inspect", "--format", "{{.Config.Labels.word}}", "localhost/built:latest"); got != "heron\n" {
		t.Errorf("the argument of the build: %q", got)
	}

	// The folder's own /tmp has the mode 0755, with which no agent could write there.
	b := containerBox(t, c, func(s *Spec) { s.Grant.Image = "localhost/brought:latest" })
	if got := b.sh("stat -c %a /tmp; echo x > /tmp/x && cat /tmp/x"); got != "1777\nx" {
		t.Errorf("/tmp of an image from a folder: %q", got)
	}
	b.Close()
	for _, name := range []string{"localhost/built", "localhost/brought:latest"} {
		noError(t, images.Remove(t.Context(), name))
	}
	if err := images.Remove(t.Context(), hollow); !errors.Is(err, ErrNotOurs) {
		t.Errorf("an image that was not made here: %v", err)
	}
	if err := images.Remove(t.Context(), "localhost/built"); err == nil || errors.Is(err, ErrNotOurs) {
		t.Errorf("an image that is gone: %v", err)
	}
}

// containerWithoutTmp: an image in which nobody could write to /tmp is refused, in
// words.
func containerWithoutTmp(t *testing.T, on installed, c *Container) {
	narrow := filepath.Join(t.TempDir(), "narrow.tar")
	noError(t, os.WriteFile(narrow, podmantest.HollowTar(t, 0o755), 0o644))
	on.Run("import", narrow, "localhost/narrow:latest")
	spec, _ := fixture(t)
	spec.Grant.Image = "localhost/narrow:latest"
	s, err := c.Start(t.Context(), spec)
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "mode 0755: give it 1777") {
		t.Errorf("%v", err)
	}
}
