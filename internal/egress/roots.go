package egress

import (
	"bytes"
	"encoding/pem"
	"os"
	"strings"

	"nanoclaw/internal/grant"
	"nanoclaw/internal/wire"
)

// maxRoots bounds the system's list as it is handed inside: it crosses the wire
// in one message. The usual one has 220 KB.
const maxRoots = 600 << 10

// Files are what the session needs to trust its own authority, to be generated
// inside: the authority alone, and with the system's list. There are none if no
// host is inspected. They hold certificates and no key.
func (g *Gateway) Files() []wire.File {
	if g.authority == nil {
		return nil
	}
	own := g.authority.pem()
	roots := g.systemRoots()
	if roots == nil {
		g.log.Warn("the list of this machine's certificate authorities was not found: inside, only inspected hosts can be verified")
	}
	return []wire.File{
		{Path: grant.Authority, Data: own},
		{Path: grant.Roots, Data: append(bytes.Clone(own), roots...)},
	}
}

// PreviewFiles are the files that a session with these hosts would get, with words
// in the place of certificates: the authority is made when a session begins.
func PreviewFiles(hosts []grant.Host) []wire.File {
	names := inspected(hosts)
	if names == nil {
		return nil
	}
	own := "(the certificate of the session's own authority, for " + strings.Join(names, ", ") + ")"
	return []wire.File{
		{Path: grant.Authority, Data: []byte(own)},
		{Path: grant.Roots, Data: []byte(own + " (and this machine's list)")},
	}
}

// systemRoots is this machine's list, comments left out; nil if there is none.
func (g *Gateway) systemRoots() []byte {
	places := g.opts.RootFiles
	if places == nil {
		places = []string{
			"/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch, Alpine
			"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora
			"/etc/pki/tls/certs/ca-bundle.crt",                  // older Fedora
			"/etc/ssl/ca-bundle.pem",                            // openSUSE
			"/etc/ssl/cert.pem",                                 // macOS, BSD
		}
	}
	for _, path := range places {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var out bytes.Buffer
		for {
			var block *pem.Block
			if block, text = pem.Decode(text); block == nil {
				break
			}
			if block.Type == "CERTIFICATE" {
				pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes})
			}
		}
		if out.Len() > 0 && out.Len() <= maxRoots {
			return out.Bytes()
		}
	}
	return nil
}
