package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// serverTools are the tools that a model's provider can be allowed to run.
var serverTools = []string{"web_search", "web_fetch", "code_execution"}

// IsServerTool says whether a group can be allowed a tool of that name.
func IsServerTool(name string) bool { return slices.Contains(serverTools, name) }

// model checks address and credentials. Credentials become HTTP headers: they
// must be one line. Neither they nor an address that holds one is ever shown.
func (v *validator) model(field Path, m Model) {
	v.modelURL(field.plus("baseURL"), m.BaseURL)
	var set []string
	for _, f := range []struct{ key, value string }{
		{"apiKey", m.APIKey}, {"authToken", m.AuthToken}, {"oauthToken", m.OAuthToken},
	} {
		if f.value == "" {
			continue
		}
		set = append(set, f.key)
		if strings.ContainsFunc(f.value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			v.add(field.plus(f.key), "printable ASCII without spaces", "other characters", "was it copied with a line break?")
		}
	}
	if len(set) > 1 {
		v.add(field.plus(set[1]), "at most one credential", strings.Join(set, " and "), "remove all but one")
	}
	v.headers(field.plus("headers"), m.Headers)
	v.oauth(field.plus("oauth"), m.OAuth)
}

// modelURL checks an address to which a credential is sent; empty is allowed. The
// egress gateway refuses plain http to other machines, and says so there.
func (v *validator) modelURL(field Path, text string) *url.URL {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		v.add(field, "an address that begins with https:// or http://", "something else", "")
		return nil
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		v.add(field, "an address without user, query and fragment", "one of them",
			"write the credential into apiKey or authToken")
		return nil
	}
	return u
}

// ownHeaders are set by the host itself, or would change how a request is read.
var ownHeaders = []string{
	"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "accept-encoding", "connection", "te", "trailer",
	"upgrade", "expect", "x-api-key", "authorization", "proxy-authorization", "cookie",
}

// headers checks what is added to each request.
func (v *validator) headers(field Path, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		switch {
		case !headerName(name):
			v.addKey(field.plus(name), "the name of a header field", quote(name), "")
		case slices.Contains(ownHeaders, strings.ToLower(name)):
			v.addKey(field.plus(name), "a header field that nanoclaw does not set itself", quote(name), "a credential belongs into apiKey or authToken")
		case strings.ContainsFunc(headers[name], func(r rune) bool { return r < ' ' || r > '~' }):
			v.add(field.plus(name), "printable ASCII on one line", "other characters", "")
		}
	}
}

// headerName says whether s is a token of RFC 9110, section 5.6.2, and not too long.
func headerName(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
		return !plain
	})
}

func (v *validator) oauth(field Path, o OAuth) {
	if u := v.modelURL(field.plus("tokenURL"), o.TokenURL); u != nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		v.add(field.plus("tokenURL"), "an address that begins with https://", "http:// to another machine", "anybody between could read the token")
	}
	switch {
	case o.TokenURL == "" && o != (OAuth{}):
		v.add(field.plus("tokenURL"), "the token endpoint", "none", "")
	case o.TokenURL != "" && o.ClientID == "":
		v.add(field.plus("clientID"), "the client that the tokens are issued to", "none", "")
	}
	for _, f := range []struct{ key, value string }{{"clientID", o.ClientID}, {"clientSecret", o.ClientSecret}} {
		if strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' || r > '~' }) {
			v.add(field.plus(f.key), "printable ASCII on one line", "other characters", "")
		}
	}
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

func (v *validator) providers(all map[string]Model) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if v.full() {
			return
		}
		if !ProviderName(name) {
			v.addKey(at("providers", name), "a name of 1 to 40 letters, digits, - and _, other than model", quote(name), "")
		}
		v.model(at("providers", name), all[name])
	}
}

// ProviderName says whether a provider can be called so. "model" is the one that
// has no name.
func ProviderName(s string) bool {
	return s != "" && s != "model" && len(s) <= 40 && s[0] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// provider checks that a group names one that there is.
func (v *validator) provider(field Path, name string, all map[string]Model) {
	if _, ok := all[name]; ok || name == "" {
		return
	}
	known := slices.Sorted(maps.Keys(all))
	v.add(field, "one of providers", quote(name), didYouMean(name, known))
}

func (v *validator) serverTools(field Path, tools []string) {
	for i, name := range tools {
		v.oneOf(field.plus(i), name, serverTools...)
		if slices.Contains(tools[:i], name) {
			v.add(field.plus(i), "each tool once", fmt.Sprintf("%q again", name), "")
		}
	}
}
