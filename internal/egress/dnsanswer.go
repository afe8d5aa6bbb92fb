package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Ways in which a packet is no answer.
var (
	// errStray says that it does not belong to the question.
	errStray = errors.New("a packet that answers another question")
	// errTruncated says that the whole answer did not fit.
	errTruncated = errors.New("the answer is cut")
)

// reply is what an answer says about a name: addresses, or the alias under which
// to ask on, or neither.
type reply struct {
	addrs []netip.Addr
	alias string
}

// readAnswer reads a packet that came back for q. The packet may come from
// anybody; only records that hang together with the question count, so what else
// lies in it (other names, other types, the additional section) is never used.
func readAnswer(packet []byte, q question) (reply, error) {
	var p dnsmessage.Parser
	head, err := p.Start(packet)
	if err != nil || head.ID != q.id || !head.Response {
		return reply{}, errStray
	}
	asked, err := p.AllQuestions()
	if err != nil || len(asked) != 1 || asked[0].Type != q.q.Type || asked[0].Class != q.q.Class || !sameName(asked[0].Name, q.q.Name) {
		return reply{}, errStray
	}
	switch {
	case head.Truncated:
		return reply{}, errTruncated
	case head.RCode == dnsmessage.RCodeNameError:
		return reply{}, errNoName
	case head.RCode != dnsmessage.RCodeSuccess:
		return reply{}, fmt.Errorf("%w: %v", errServer, head.RCode)
	}
	r, err := readRecords(&p, q)
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	return r, nil
}

// readRecords collects the answer section and walks from the question's name
// over its aliases.
func readRecords(p *dnsmessage.Parser, q question) (reply, error) {
	alias := map[string]string{}
	addrs := map[string][]netip.Addr{}
	for {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return reply{}, err
		}
		owner := fold(h.Name)
		switch {
		case h.Class != dnsmessage.ClassINET || h.Type != q.q.Type && h.Type != dnsmessage.TypeCNAME:
			err = p.SkipAnswer()
		case h.Type == dnsmessage.TypeCNAME:
			var c dnsmessage.CNAMEResource
			c, err = p.CNAMEResource()
			alias[owner] = fold(c.CNAME)
		case h.Type == dnsmessage.TypeA:
			var a dnsmessage.AResource
			a, err = p.AResource()
			addrs[owner] = append(addrs[owner], netip.AddrFrom4(a.A))
		default:
			var a dnsmessage.AAAAResource
			a, err = p.AAAAResource()
			addrs[owner] = append(addrs[owner], netip.AddrFrom16(a.AAAA))
		}
		if err != nil {
			return reply{}, err
		}
	}
	name := fold(q.q.Name)
	for range dnsAliases {
		if list := addrs[name]; len(list) > 0 {
			return reply{addrs: list}, nil
		}
		next, ok := alias[name]
		if !ok {
			break
		}
		name = next
	}
	if name == fold(q.q.Name) {
		return reply{}, nil
	}
	return reply{alias: name}, nil
}

// fold is a name for comparing: DNS does not tell the cases of ASCII apart.
func fold(n dnsmessage.Name) string { return strings.ToLower(n.String()) }

func sameName(a, b dnsmessage.Name) bool { return fold(a) == fold(b) }
