package inside

// Addresses that stand for the internet. They are for documentation (RFC 5737,
// RFC 3849), so that nobody is there; the control arm gives them to itself.
const (
	World4 = "192.0.2.1"
	World6 = "2001:db8::1"
)

// Hosts of the network that is made up for the attacks. The grant has Allowed
// with ports 443 and 80, one level below Wild, and the two names that lead to
// where they must not. Every other name would lead to a server that answers.
const (
	Allowed  = "allowed.test"
	Wild     = "wild.test"
	Rebound  = "rebound.test"  // this machine
	Metadata = "metadata.test" // the cloud's metadata
	Private  = "private.test"  // the owner's network
)

// MaxConns is how many connections the attacked proxy takes at once.
const MaxConns = 16

// witnessArg asks for the witness, after Verb.
const witnessArg = "witness"

// WitnessArgs are the arguments with which a program becomes the witness: a
// process of the host that attackers look for. It says on its standard output
// where its memory holds the text of WitnessVar, then a word for each signal
// that arrives, and ends with its standard input.
func WitnessArgs() []string { return []string{Verb, witnessArg} }

// WitnessVar is the variable with the witness's secret.
const WitnessVar = "NANOCLAW_ATTACK_SECRET"
