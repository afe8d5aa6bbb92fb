package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.mau.fi/libsignal/ecc"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCert"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/util/keys"
	"golang.org/x/crypto/curve25519"
	"google.golang.org/protobuf/proto"
)

// server is WhatsApp's, as far as these tests need it: TLS behind the boundary's proxy, a
// web socket, the Noise handshake with a certificate, and nodes. That it is WhatsApp's is
// proven to the library by root, in the place of WhatsApp's own key.
type server struct {
	t      *testing.T
	proxy  string // its URL
	ca     string // a file with the one TLS root
	root   *keys.KeyPair
	signer *keys.KeyPair // of the certificate; root, unless the server is an impostor
	serve  func(*session)
	all    sync.WaitGroup // connections
}

// newServer starts one. serve has each of its connections, after the handshake.
func newServer(t *testing.T, serve func(*session)) *server {
	s := &server{t: t, root: keys.NewKeyPair(), serve: serve}
	s.signer = s.root
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"web.whatsapp.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	s.ca = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))

	web := httptest.NewUnstartedServer(http.HandlerFunc(s.upgrade))
	web.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	web.StartTLS()
	t.Cleanup(s.all.Wait) // the adapter's process is over, and with it its connections
	t.Cleanup(web.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "web.whatsapp.com:443" {
			t.Errorf("it asks the proxy for %s %s", r.Method, r.Host)
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		there, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer there.Close()
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer here.Close()
		io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(there, here)
			there.Close()
		}()
		io.Copy(here, there)
	}))
	t.Cleanup(proxy.Close)
	s.proxy = proxy.URL
	return s
}

func (s *server) upgrade(w http.ResponseWriter, r *http.Request) {
	s.all.Add(1)
	defer s.all.Done()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: []string{"web.whatsapp.com"}})
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 24)
	c := &session{t: s.t, ctx: r.Context(), conn: conn}
	c.err = c.handshake(s)
	s.serve(c)
}

// session is one connection of the adapter's.
type session struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
	err  error // of the handshake

	client  []byte // its static key
	payload *waWa6.ClientPayload

	unread     []byte
	send, recv cipher.AEAD
	mu         sync.Mutex
	sent       uint32
	got        uint32
}

// noise is the symmetric state of a handshake, of whoever answers one. Source: The Noise
// Protocol Framework, revision 34, section 5.2.
type noise struct {
	hash, chain []byte
	key         cipher.AEAD
	n           uint32
}

func aead(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

func nonce(n uint32) []byte { return binary.BigEndian.AppendUint32(make([]byte, 8, 12), n) }

func (h *noise) mixHash(data []byte) {
	sum := sha256.Sum256(append(h.hash[:len(h.hash):len(h.hash)], data...))
	h.hash = sum[:]
}

func (h *noise) split(secret []byte) (a, b []byte) {
	out, err := hkdf.Key(sha256.New, secret, h.chain, "", 64)
	if err != nil {
		panic(err)
	}
	return out[:32], out[32:]
}

func (h *noise) mixKey(priv, pub []byte) error {
	secret, err := curve25519.X25519(priv, pub)
	if err != nil {
		return err
	}
	var key []byte
	h.chain, key = h.split(secret)
	h.key, h.n = aead(key), 0
	return nil
}

func (h *noise) seal(text []byte) []byte {
	out := h.key.Seal(nil, nonce(h.n), text, h.hash)
	h.n++
	h.mixHash(out)
	return out
}

func (h *noise) open(text []byte) ([]byte, error) {
	out, err := h.key.Open(nil, nonce(h.n), text, h.hash)
	h.n++
	h.mixHash(text)
	return out, err
}

// handshake is Noise_XX_25519_AESGCM_SHA256, of its answering side.
func (c *session) handshake(s *server) error {
	header := make([]byte, len(socket.WAConnHeader))
	if err := c.readFull(header); err != nil || string(header) != string(socket.WAConnHeader) {
		return fmt.Errorf("the first bytes are %x: %w", header, err)
	}
	var hello waWa6.HandshakeMessage
	if err := c.readMessage(&hello); err != nil {
		return err
	}
	theirs := hello.GetClientHello().GetEphemeral()
	h := &noise{hash: []byte(socket.NoiseStartPattern), chain: []byte(socket.NoiseStartPattern)}
	h.mixHash(header)
	h.mixHash(theirs)
	ephemeral, static := keys.NewKeyPair(), keys.NewKeyPair()
	h.mixHash(ephemeral.Pub[:])
	if err := h.mixKey(ephemeral.Priv[:], theirs); err != nil {
		return err
	}
	sealed := h.seal(static.Pub[:])
	if err := h.mixKey(static.Priv[:], theirs); err != nil {
		return err
	}
	answer, err := proto.Marshal(&waWa6.HandshakeMessage{ServerHello: &waWa6.HandshakeMessage_ServerHello{
		Ephemeral: ephemeral.Pub[:], Static: sealed, Payload: h.seal(s.certificate(static)),
	}})
	if err != nil {
		return err
	}
	if err := c.write(answer); err != nil {
		return err
	}
	var finish waWa6.HandshakeMessage
	if err := c.readMessage(&finish); err != nil {
		return err
	}
	if c.client, err = h.open(finish.GetClientFinish().GetStatic()); err != nil {
		return err
	}
	if err := h.mixKey(ephemeral.Priv[:], c.client); err != nil {
		return err
	}
	payload, err := h.open(finish.GetClientFinish().GetPayload())
	if err != nil {
		return err
	}
	c.payload = &waWa6.ClientPayload{}
	if err := proto.Unmarshal(payload, c.payload); err != nil {
		return err
	}
	from, to := h.split(nil)
	c.recv, c.send = aead(from), aead(to)
	return nil
}

// certificate proves a static key: WhatsApp's root signs an intermediate one, and that
// signs the key's.
func (s *server) certificate(static *keys.KeyPair) []byte {
	middle := keys.NewKeyPair()
	sign := func(by *keys.KeyPair, serial, issuer uint32, key *keys.KeyPair) *waCert.CertChain_NoiseCertificate {
		details, err := proto.Marshal(&waCert.CertChain_NoiseCertificate_Details{
			Serial: &serial, IssuerSerial: &issuer, Key: key.Pub[:],
			NotBefore: proto.Uint64(uint64(time.Now().Add(-time.Hour).Unix())), NotAfter: proto.Uint64(uint64(time.Now().Add(time.Hour).Unix())),
		})
		if err != nil {
			panic(err)
		}
		signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*by.Priv), details)
		return &waCert.CertChain_NoiseCertificate{Details: details, Signature: signature[:]}
	}
	chain, err := proto.Marshal(&waCert.CertChain{Intermediate: sign(s.signer, 1, 0, middle), Leaf: sign(middle, 2, 1, static)})
	if err != nil {
		panic(err)
	}
	return chain
}

func (c *session) readFull(p []byte) error {
	for len(c.unread) < len(p) {
		_, data, err := c.conn.Read(c.ctx)
		if err != nil {
			return err
		}
		c.unread = append(c.unread, data...)
	}
	copy(p, c.unread)
	c.unread = c.unread[len(p):]
	return nil
}

// frame reads one: three bytes of length, and so many.
func (c *session) frame() ([]byte, error) {
	var size [3]byte
	if err := c.readFull(size[:]); err != nil {
		return nil, err
	}
	data := make([]byte, int(size[0])<<16|int(size[1])<<8|int(size[2]))
	return data, c.readFull(data)
}

func (c *session) readMessage(m proto.Message) error {
	data, err := c.frame()
	if err != nil {
		return err
	}
	return proto.Unmarshal(data, m)
}

func (c *session) write(data []byte) error {
	n := len(data)
	return c.conn.Write(c.ctx, websocket.MessageBinary, append([]byte{byte(n >> 16), byte(n >> 8), byte(n)}, data...))
}

// tell sends a node.
func (c *session) tell(n waBinary.Node) {
	data, err := waBinary.Marshal(n)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	sealed := c.send.Seal(nil, nonce(c.sent), data, nil)
	c.sent++
	c.write(sealed)
}

// hear gives the next node of the adapter's, nil when the connection is over.
func (c *session) hear() *waBinary.Node {
	data, err := c.frame()
	if err != nil {
		return nil
	}
	data, err = c.recv.Open(nil, nonce(c.got), data, nil)
	c.got++
	if err == nil {
		data, err = waBinary.Unpack(data)
	}
	var n *waBinary.Node
	if err == nil {
		n, err = waBinary.Unmarshal(data)
	}
	if err != nil {
		c.t.Errorf("a frame of the adapter's: %v", err)
		return nil
	}
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
