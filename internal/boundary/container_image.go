//go:build linux || darwin

package boundary

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nanoclaw/internal/grant"
)

// imageLabel marks the images that were made here: only those are listed, and only
// those can be removed here.
const imageLabel = "nanoclaw.image"

// ofHost are the mounts that come from the host and not from the image.
func ofHost(mounts []grant.Mount) []grant.Mount {
	var out []grant.Mount
	for _, m := range mounts {
		if !m.Image {
			out = append(out, m)
		}
	}
	return out
}

// missingImage says that an image is not there, if that is why a start failed: it
// is asked only then, and so costs no start that works.
func (c *Container) missingImage(ctx context.Context, image string) error {
	if has, err := c.HasImage(ctx, image); err != nil || has {
		return nil
	}
	return &StartError{Step: "image", Err: fmt.Errorf("%s has no image %q", c.name, image), Hint: ImageHint(image)}
}

// ImageHint is how an image is made that is not there.
func ImageHint(image string) string {
	return "make it: nanoclaw image build --name " + image + ", or without any registry: nanoclaw image import DIR --name " + image
}

// HasImage says whether the engine has an image.
func (c *Container) HasImage(ctx context.Context, image string) (bool, error) {
	return c.cli.hasImage(ctx, image)
}

func (t *tool) hasImage(ctx context.Context, image string) (bool, error) {
	_, err := t.run(ctx, "image", "inspect", image)
	if e, ok := errors.AsType[*toolError](err); ok && saysMissing(e.said) {
		return false, nil
	}
	return err == nil, err
}

// saysMissing tells an image that is not there from an engine that cannot be asked.
func saysMissing(said string) bool {
	said = strings.ToLower(said)
	return strings.Contains(said, "no such image") || strings.Contains(said, "image not known") ||
		strings.Contains(said, "not found") || strings.Contains(said, "failed to find image")
}

// Images makes and removes the images of one engine, for the owner.
type Images struct{ cli tool }

// NewImages finds the engine's tool.
func NewImages(engine string, o ContainerOptions) (*Images, error) {
	t, err := newTool(engine, o)
	return &Images{t}, err
}

// Engine is the engine's name.
func (i *Images) Engine() string { return i.cli.engine }

// Has says whether there is an image of a name.
func (i *Images) Has(ctx context.Context, name string) (bool, error) {
	return i.cli.hasImage(ctx, name)
}

// Image is one that was made here.
type Image struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Created string `json:"created"` // as the engine says it
	Size    string `json:"size"`
}

// List gives the images that were made here.
func (i *Images) List(ctx context.Context) ([]Image, error) {
	if i.cli.engine == AppleEngine {
		return nil, errors.New("the engine apple-container keeps no labels of images: use container image list")
	}
	out, err := i.cli.run(ctx, "images", "--filter", "label="+imageLabel, "--format",
		`{"name":"{{.Repository}}:{{.Tag}}","id":"{{.ID}}","created":"{{.CreatedAt}}","size":"{{.Size}}"}`)
	if err != nil {
		return nil, err
	}
	var list []Image
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var m Image
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s images: %w", i.cli.engine, err)
		}
		list = append(list, m)
	}
}

// ErrNotOurs is in the error of removing an image that was not made here.
var ErrNotOurs = errors.New("it was not made by nanoclaw")

// Remove removes an image that was made here.
func (i *Images) Remove(ctx context.Context, name string) error {
	list, err := i.List(ctx)
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.Name == name || m.Name == name+":latest" {
			_, err := i.cli.run(ctx, "rmi", m.Name)
			return err
		}
	}
	has, err := i.Has(ctx, name)
	switch {
	case err != nil:
		return err
	case has:
		return fmt.Errorf("%s: %w", name, ErrNotOurs)
	}
	return fmt.Errorf("%s has no image %q", i.cli.engine, name)
}

// Build makes an image from a Containerfile, with the files of its folder that it
// copies. What the engine says of it goes to out.
func (i *Images) Build(ctx context.Context, name, file string, args map[string]string, out io.Writer) error {
	list := []string{"build", "--tag", name, "--file", file}
	if i.cli.engine != AppleEngine {
		list = append(list, "--label", imageLabel+"="+name)
	}
	for k, v := range args {
		list = append(list, "--build-arg", k+"="+v)
	}
	cmd := i.cli.command(ctx, append(list, filepath.Dir(file))...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s build: %w", i.cli.engine, err)
	}
	return nil
}

// Import makes an image from a folder that is the root of a system. All in it
// becomes root's; what is no file, folder or link is left out. Nothing is fetched
// from anywhere.
func (i *Images) Import(ctx context.Context, name, dir string) error {
	if i.cli.engine == AppleEngine {
		return errors.New("the engine apple-container cannot import a folder: build an image, with FROM scratch and COPY . /")
	}
	read, write := io.Pipe()
	go func() { write.CloseWithError(archive(write, dir)) }()
	defer read.Close()
	change := "LABEL " + imageLabel + "=" + name
	_, err := i.cli.feed(ctx, read, "import", "--change", change, "-", name)
	return err
}

// archive writes a folder as a tar file.
func archive(w io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := tar.NewWriter(w)
	err = fs.WalkDir(root.FS(), ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		return archiveOne(t, root, p, e)
	})
	return errors.Join(err, t.Close())
}

func archiveOne(t *tar.Writer, root *os.Root, p string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	if kind := info.Mode().Type(); kind&^(fs.ModeDir|fs.ModeSymlink) != 0 {
		return nil
	}
	var link string
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = root.Readlink(p); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = p, 0, 0, "", ""
	h.Mode &= 0o1777 // nothing runs as its owner
	if p == "tmp" && info.IsDir() {
		h.Mode = 0o1777 // whose mode the container's /tmp has
	}
	if info.IsDir() {
		h.Name += "/"
	}
	if err := t.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := root.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(t, f)
	return err
}
