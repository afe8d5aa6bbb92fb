//go:build linux || darwin

package boundary

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"nanoclaw/internal/grant"
)

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
func (c *Container) missingImage(ctx context.Context, image, words string) error {
	if has, err := c.HasImage(ctx, image); err != nil || has {
		return nil
	}
	return &StartError{Step: "image", Err: fmt.Errorf("%s has no image %q", c.name, image), Hint: ImageHint(image)}
}

// ImageHint is how an image is made that is not there.
func ImageHint(image string) string {
	return "nanoclaw image build, or nanoclaw image import DIR, makes it: " + image
}

// HasImage says whether the engine has an image.
func (c *Container) HasImage(ctx context.Context, image string) (bool, error) {
	_, err := c.cli.run(ctx, "image", "inspect", image)
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
