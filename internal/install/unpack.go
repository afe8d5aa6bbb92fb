package install

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// member is the program in the archive. npm puts everything below package/.
const member = "package/claude"

// slack is what an archive may hold beside the program.
const slack = 16 << 20

// unpack writes the program of an archive to out and gives its size.
//
// The archive's hash was right, so all this guards against is a hash that was
// pinned by mistake. It is strict nevertheless, for it costs nothing: regular
// files directly in package/ and nothing else, the program once, and no path of
// the archive ever becomes a path of this machine.
func unpack(out io.Writer, archive io.Reader, l limits) (size int64, err error) {
	z, err := gzip.NewReader(archive)
	if err != nil {
		return 0, fmt.Errorf("the archive is no gzip file: %w", err)
	}
	bounded := &io.LimitedReader{R: z, N: l.program + slack}
	found := false
	for r := tar.NewReader(bounded); ; {
		h, err := r.Next()
		switch {
		case bounded.N <= 0:
			return 0, fmt.Errorf("the archive unpacks to more than %d bytes", l.program+slack)
		case errors.Is(err, io.EOF) && found:
			return size, nil
		case errors.Is(err, io.EOF):
			return 0, fmt.Errorf("the archive has no %s", member)
		case err != nil:
			return 0, fmt.Errorf("the archive is broken: %w", err)
		}
		if err := plain(h); err != nil {
			return 0, err
		}
		if h.Name != member {
			continue
		}
		if found {
			return 0, fmt.Errorf("the archive has %s twice", member)
		}
		found = true
		if h.Size > l.program {
			return 0, fmt.Errorf("the program is larger than %d bytes", l.program)
		}
		if size, err = io.Copy(out, r); err != nil {
			return 0, fmt.Errorf("writing the program: %w", err)
		}
	}
}

// plain refuses everything but a regular file directly in package/.
func plain(h *tar.Header) error {
	base, ok := strings.CutPrefix(h.Name, "package/")
	switch {
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("the archive holds %q, which is not a regular file", h.Name)
	case !ok || base == "" || base == "." || base == ".." || strings.ContainsAny(base, "/\\\x00"):
		return fmt.Errorf("the archive holds %q, which is not directly in package/", h.Name)
	}
	return nil
}
