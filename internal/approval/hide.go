package approval

// maxCodes is how many codes are remembered, so that they can be hidden.
const maxCodes = 256

// remember notes a code that is or was in use. d.mu is held.
func (d *Desk) remember(code string) {
	d.codes = append(d.codes, code)
	if len(d.codes) > maxCodes {
		d.codes = append([]string(nil), d.codes[len(d.codes)-maxCodes:]...)
	}
}
