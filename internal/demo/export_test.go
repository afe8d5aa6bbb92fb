package demo

// CommandOf is the command of an attempt.
func CommandOf(name string) string {
	for _, a := range Attempts() {
		if a.Name == name {
			return a.command
		}
	}
	return ""
}
