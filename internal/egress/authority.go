package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"

	"nanoclaw/internal/grant"
)

// authorityLife is how long a session's authority is good beyond its longest run.
const authorityLife = 12 * time.Hour

// maxLeaves bounds the certificates that are kept: below a wildcard there are
// endlessly many names.
const maxLeaves = 256

// authority signs certificates for the hosts that a session looks into. It is
// made for one session and trusted by nobody outside its boundary. Its keys
// exist in this memory alone: they are written nowhere and there is no way to
// ask for them. Whoever stole them could, for some hours, pretend to one agent
// to be one of the hosts in its own list: the name constraints (RFC 5280 section
// 4.2.1.10) bind the certificate itself.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// leafKey is the one key of all leaves: they all speak for this gateway.
	leafKey *ecdsa.PrivateKey
	until   time.Time

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// newAuthority makes the authority of a session for those of hosts that are
// inspected; nil if none is.
func newAuthority(hosts []grant.Host, run time.Duration) (*authority, error) {
	names := inspected(hosts)
	if names == nil {
		return nil, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "NanoClaw session " + now.UTC().Format("2006-01-02 15:04")},
		NotBefore:    now.Add(-time.Hour), // a clock may be set back
		NotAfter:     now.Add(authorityLife + run),
		IsCA:         true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:                    x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         names,
		ExcludedIPRanges:            everyAddress(),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, leafKey: leafKey, until: cert.NotAfter, leaves: map[string]*tls.Certificate{}}, nil
}

// inspected are the names to which the authority is constrained. In a constraint
// a name stands for itself and all below it; a leaf is made for matching names
// alone.
func inspected(hosts []grant.Host) []string {
	var names []string
	for _, h := range hosts {
		if h.Inspect {
			names = append(names, strings.TrimPrefix(h.Pattern, "*."))
		}
	}
	return names
}

func everyAddress() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return n.Add(n, big.NewInt(1))
}

// leaf gives the certificate for a canonical name that the grant says to inspect.
func (a *authority) leaf(name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.leaves[name]; c != nil {
		return c, nil
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: commonName(name)},
		NotBefore:    a.cert.NotBefore, NotAfter: a.until,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{name},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.leafKey.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("a certificate for %s could not be made: %w", name, err)
	}
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves)
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.leafKey}
	a.leaves[name] = c
	return c, nil
}

// commonName fits into the 64 characters of X.520. Nobody decides by it.
func commonName(name string) string { return name[:min(len(name), 64)] }

// pem is the public part, as files hold it.
func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}
