package control

// DoctorQuery says how deep to look.
type DoctorQuery struct {
	Probe bool `json:"probe,omitempty"`
	// Attack asks for the catalogue of attacks, on every engine that stands here,
	// and for nothing else.
	Attack bool `json:"attack,omitempty"`
}

// DoctorReport is what was found.
type DoctorReport struct {
	Checks []Check `json:"checks,omitempty"`
	// Attacks is set if they were asked for.
	Attacks *Attacks `json:"attacks,omitempty"`
}

// Attacks is what came of the catalogue of attacks.
type Attacks struct {
	Engines []Attacked `json:"engines"`
	// Untried are engines that could not be attacked, each with the reason.
	Untried []string `json:"untried,omitempty"`
	// Text is all of it as a table for a person.
	Text string `json:"text,omitempty"`
}

// Attacked is what came of it on one engine.
type Attacked struct {
	Engine string       `json:"engine"`
	User   string       `json:"user"` // "root" or "user": who runs the host
	Lines  []AttackLine `json:"lines"`
	// Missing are layers that this machine does not have.
	Missing []string `json:"missing,omitempty"`
}

// AttackLine is what came of one line of the catalogue. Good says that it came
// out as the catalogue says of it: held, or known to be stopped by nothing.
type AttackLine struct {
	Line   string `json:"line"`
	State  string `json:"state"`
	Good   bool   `json:"good"`
	Detail string `json:"detail,omitempty"`
}

// Check is one finding. State is "ok", "note", "warn" or "fail"; Fix says what
// the owner can do.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	Fix    string `json:"fix,omitempty"`
}
