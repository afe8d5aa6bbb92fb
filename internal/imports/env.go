package imports

import (
	"fmt"
	"slices"
	"strings"

	"nanoclaw/internal/credential"
)

// Env is what .env says. It never prints a value that is a secret.
type Env struct {
	Assistant, Zone string
	// Endpoint says that another address for the model is set.
	Endpoint bool
	// Kind is the credential's, "" for none; the value is Installation.Credential's.
	Kind credential.Kind
	// Others are names that are set and mean nothing here, with what to do.
	Others []Left

	value   string
	secrets []string
}

// String hides all.
func (e Env) String() string { return "env{" + string(e.Kind) + "}" }

// Format is String whatever the verb.
func (e Env) Format(f fmt.State, _ rune) { fmt.Fprint(f, e.String()) }

// credentials are the names for the model, in the order in which Claude Code goes by
// them.
var credentials = []struct {
	name string
	kind credential.Kind
}{
	{"ANTHROPIC_AUTH_TOKEN", credential.AuthToken},
	{"ANTHROPIC_API_KEY", credential.APIKey},
	{"CLAUDE_CODE_OAUTH_TOKEN", credential.OAuthToken},
}

// elsewhere says where names of other versions and of skills belong now.
var elsewhere = map[string]string{
	"SLACK_BOT_TOKEN": "log in: nanoclaw channel login slack", "SLACK_APP_TOKEN": "log in: nanoclaw channel login slack",
	"TELEGRAM_BOT_TOKEN": "log in: nanoclaw channel login telegram", "DISCORD_BOT_TOKEN": "log in: nanoclaw channel login discord",
	"ONECLI_URL": "the host adds credentials itself", "ONECLI_API_KEY": "the host adds credentials itself",
	"CLAUDE_CODE_USE_BEDROCK": "there is no way to Bedrock yet but a gateway with the Messages API (model.baseURL)",
}

// minSecret is from which length on a value is looked for in files.
const minSecret = 12

// env reads .env. Main's agent could write it: no address is taken from it, and a
// credential is only ever sent where the owner's own configuration says.
func (in *Installation) env() Env {
	var e Env
	data, ok := in.small(".env")
	if !ok {
		return e
	}
	values := parseEnv(string(data))
	e.Assistant, e.Zone = values["ASSISTANT_NAME"], values["TZ"]
	e.Endpoint = values["ANTHROPIC_BASE_URL"] != ""
	for _, c := range credentials {
		switch v := values[c.name]; {
		case v == "":
		case e.Kind == "":
			e.Kind, e.value = c.kind, v
		default:
			e.Others = append(e.Others, Left{c.name, "one credential is used, and the other one goes before it"})
		}
	}
	if e.Endpoint && e.Kind != "" {
		e.Others = append(e.Others, Left{"ANTHROPIC_BASE_URL and the credential", "an agent could write the address, and the credential is for it: if it is right, set model.baseURL in the configuration, then run nanoclaw login claude"})
		e.Kind, e.value = "", ""
	} else if e.Endpoint {
		e.Others = append(e.Others, Left{"ANTHROPIC_BASE_URL", "an agent could write it: if it is right, set model.baseURL in the configuration"})
	}
	for _, name := range slices.Sorted(mapKeys(values)) {
		if secretName(name) && len(values[name]) >= minSecret {
			e.secrets = append(e.secrets, values[name])
		}
		if where, known := elsewhere[name]; known {
			e.Others = append(e.Others, Left{name, where})
		}
	}
	return e
}

// secretName says whether a name is that of a secret.
func secretName(name string) bool {
	return slices.ContainsFunc([]string{"TOKEN", "KEY", "SECRET", "PASS", "CREDENTIAL", "AUTH"}, func(word string) bool { return strings.Contains(name, word) })
}

// maxEnv bounds how many lines are looked at.
const maxEnv = 1000

// parseEnv reads NAME=VALUE lines as NanoClaw 1 did: export and quotes are taken off,
// nothing is expanded, and the last line of a name counts.
func parseEnv(text string) map[string]string {
	out := map[string]string{}
	for i, line := range strings.Split(text, "\n") {
		if i == maxEnv {
			break
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.HasPrefix(name, "#") || len(name) > 100 {
			continue
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		if value != "" {
			out[name] = value
		}
	}
	return out
}

// Credential is that of .env, for the endpoint that the caller trusts; ok says whether
// there is one.
func (in *Installation) Credential(endpoint string) (c credential.Credential, ok bool) {
	e := in.Old.Env
	return credential.Credential{Kind: e.Kind, Value: e.value, Endpoint: endpoint}, e.Kind != ""
}

// hide takes the secrets of .env out of a text.
func (e Env) hide(text string) string {
	for _, s := range e.secrets {
		text = strings.ReplaceAll(text, s, "[a secret of .env]")
	}
	return text
}
