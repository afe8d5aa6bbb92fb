package agent

// Class is a kind of failure. A class says what ends it: see Recovery.
type Class string

// The classes, in Result.Class and Error.Class.
const (
	ClassSession     Class = "session"     // the session is unknown or in use
	ClassTooLong     Class = "too_long"    // the conversation no longer fits the model
	ClassCredential  Class = "credential"  // the model refused the credential
	ClassExpired     Class = "expired"     // the credential was valid and is no longer
	ClassRateLimit   Class = "rate_limit"  // the model says to wait
	ClassBilling     Class = "billing"     // the account cannot pay
	ClassOverloaded  Class = "overloaded"  // the model is too busy, or broken for the moment
	ClassUnreachable Class = "unreachable" // no connection to the model
	ClassModel       Class = "model"       // there is no such model, or not for this account
	ClassAPI         Class = "api"         // the model answered with another error
	ClassStart       Class = "start"       // the agent did not start
	ClassLimit       Class = "limit"       // a limit on rounds or money was reached
	ClassProtocol    Class = "protocol"    // the agent said something that it must not
	ClassEnded       Class = "ended"       // the agent ended in the middle of the turn
	ClassDone        Class = "done"        // the agent had done this prompt before, and its answer is lost
	ClassBoundary    Class = "boundary"    // its boundary could not be built, so it was not started
	ClassTimeout     Class = "timeout"     // the turn took longer than it may
	ClassPoison      Class = "poison"      // the same messages ended the agent or the host again and again
	ClassOther       Class = "other"
)

// Recovery is what ends a failure.
type Recovery string

// The recoveries. The host does the first one by itself, once for a prompt; the
// others are a person's, who is told.
const (
	NewSession  Recovery = "new session"  // begin a new session and give it the prompt again
	LogIn       Recovery = "log in"       // set a valid credential
	Wait        Recovery = "wait"         // try again later; Result.Retry may say when
	Pay         Recovery = "pay"          // see to the account's balance
	ChooseModel Recovery = "choose model" // set another model in the configuration
	Mend        Recovery = "mend"         // something on this machine is wrong: nanoclaw doctor
	AskAgain    Recovery = "ask again"    // the next message may succeed as it is
)

// Recovery says what ends a failure of this class.
func (c Class) Recovery() Recovery {
	switch c {
	case ClassSession, ClassTooLong:
		return NewSession
	case ClassCredential, ClassExpired:
		return LogIn
	case ClassRateLimit, ClassOverloaded:
		return Wait
	case ClassBilling:
		return Pay
	case ClassModel:
		return ChooseModel
	case ClassStart, ClassUnreachable, ClassBoundary:
		return Mend
	}
	return AskAgain
}

// Account says that a failure of this class is one of the account at the model:
// as long as it lasts, it meets every message of every group.
func (c Class) Account() bool {
	switch c {
	case ClassCredential, ClassExpired, ClassBilling, ClassRateLimit:
		return true
	}
	return false
}
